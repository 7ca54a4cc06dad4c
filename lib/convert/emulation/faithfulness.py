"""Whether a file's errors are no larger than its format explains. numpy only; gives figures and a verdict.

The errors of the file against the source are divided by those of the emulation and its draws:

- ``whole``: root mean square over an output, and ``gain``, ``offset`` of its best linear fit to the source's values:
  a scale that is off by a tenth is hidden by int8's noise, but not in the mean;
- ``slice``: the same root mean square for every index of every axis but the first (a class, a channel);
- ``row``: for every row of every input.

A slice's or row's own few draws are drawn towards what the whole output would explain of it, and a small one that
hardly moves is never held to less than a share of the whole's spread.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lib.convert.emulation import sums
from lib.convert.emulation.draws import Arrays, Emulation
from lib.convert.proof.comparison import ORDER, Faithfulness
from lib.error_measures import both_finite, kind, one_not_finite
from lib.error_measures import real as wide

# Ratios up to which a file is proven. The worst of over 600 correct files were 2.1, 2.5, 2.7, 3.7 and 2.5, except among
# a thousand slices (6.3).
MAX_RATIOS = {"whole": 2.0, "gain": 5.0, "offset": 6.0, "slice": 4.0, "row": 4.0}
CHANCE_FACTOR = 1.5  # over what the largest of so many slices or rows is by chance
FAILED = 1.5  # times that: failed, not unproven
ROUNDING = {"fp16": 1e-5, "int8": 1e-4}  # of the peak: two runtimes differ by so much whatever the format
MAX_VALUES = 60_000_000  # of one output, all draws together, that are held as float64; further inputs are left out
VACUOUS = 0.5  # spread / movement from which on any file would pass


def assess(expected: list[Arrays], ours: list[Arrays], emulation: Emulation | None, precision: str) -> Faithfulness:
    """Whether the file's outputs are those of its source at ``precision`` ("fp16" or "int8").

    ``expected``, ``ours`` and the emulation's lists have one dict for each input, with outputs by the source's names.
    """
    if emulation is None:
        return Faithfulness("unproven", "What this format must give could not be worked out.", "emulation")
    figures: dict[str, Any] = {"weights_compared": emulation.compared, "weights": emulation.weight_count, "outputs": {}}
    if emulation.weights:
        more = f" ({len(emulation.weights) - 1} more of the kind.)" if len(emulation.weights) > 1 else ""
        return Faithfulness("failed", f"{emulation.weights[0]}{more}", "rounding", figures)
    if emulation.notes and not emulation.outputs:
        message = f"What this format must give could not be worked out: {emulation.notes[0]}"
        return Faithfulness("unproven", message, "emulation", figures)
    if not expected or not emulation.outputs:
        return Faithfulness("unproven", "No input was run, so nothing is shown.", "emulation", figures)
    worst, vacuous = ("proven", ""), []
    for name in expected[0]:
        verdict, reason, found = _assess_output(name, expected, ours, emulation, ROUNDING[precision])
        figures["outputs"][name] = found
        if found.get("vacuous"):
            vacuous.append(f"Output {name!r}: {reason}")
        elif ORDER.index(verdict) > ORDER.index(worst[0]):
            worst = verdict, f"Output {name!r}: {reason}"
    for what in MAX_RATIOS:
        shares = [f[what] for f in figures["outputs"].values() if f.get(what) is not None]
        figures[what] = max(shares, default=None)
    if worst[0] == "proven" and vacuous:
        return Faithfulness("unproven", vacuous[0], "emulation", figures, vacuous=True)
    if worst[0] == "proven":
        worst = "proven", _reason_proven(figures, emulation)
    return Faithfulness(*worst, "emulation", figures)


def _reason_proven(figures: dict[str, Any], emulation: Emulation) -> str:
    whole = figures["whole"]
    message = f"Its errors are {whole:.2g} times those of the source rounded here" if whole else "No value differs"
    if emulation.compared:
        message += (
            f"; {emulation.compared} of {emulation.weight_count} weight tensors were compared and are the source's, rounded"
        )
    return message + "."


def _assess_output(
    name: str, expected: list[Arrays], ours: list[Arrays], emulation: Emulation, rounding: float
) -> tuple[str, str, dict[str, Any]]:
    tries = [emulation.outputs, *emulation.draws]
    masks = emulation.masks or [None] * len(expected)
    rows = []
    for k, (e, o) in enumerate(zip(expected, ours, strict=True)):
        given = [t[k].get(name) for t in tries]
        if name not in o:
            return "failed", "it is missing in the converted model.", {}
        if o[name].shape != e[name].shape:
            if any(g is None or g.shape != e[name].shape for g in given):
                continue  # a number of rows that rounding decides
            return "failed", f"its shape is {list(o[name].shape)}, the source's is {list(e[name].shape)}.", {}
        given = [g for g in given if g is not None and g.shape == e[name].shape]
        if given:
            rows.append((e[name], o[name], given, _counted(e[name].shape, masks[k])))
    while len(rows) > 1 and sum(e.size * (2 + len(given)) for e, _, given, _ in rows) > MAX_VALUES:
        rows.pop()
    if not rows:
        return "unproven", "the number of its rows changes with rounding itself.", {}
    if kind(rows[0][0]) not in "fc":
        return _assess_discrete(rows)
    return _assess_floats(rows, rounding)


def _counted(shape: tuple[int, ...], mask: np.ndarray | None) -> np.ndarray:
    """Which elements count, without rows that an attention mask switches off. Broadcasts to ``shape``."""
    if mask is not None and len(shape) >= 2 and shape[0] == mask.shape[0]:
        for axis in (1, 2):
            if len(shape) > axis and shape[axis] == mask.shape[1]:
                return mask.reshape(mask.shape[0], *(1,) * (axis - 1), mask.shape[1], *(1,) * (len(shape) - axis - 1))
    return np.ones((1,) * len(shape), bool)


def _assess_discrete(rows: list[tuple]) -> tuple[str, str, dict[str, Any]]:
    """Integers, booleans and text: compares the share that differs with that of the draws."""
    size = differ = 0
    drawn: dict[int, int] = {}
    for e, o, given, counts in rows:
        counts = np.broadcast_to(counts, e.shape)
        size += int(counts.sum())
        differ += int(((e != o) & counts).sum())
        for k, g in enumerate(given):
            drawn[k] = drawn.get(k, 0) + int(((e != g) & counts).sum())
    most = max(drawn.values())
    found = {"differ": differ / max(size, 1), "drawn": most / max(size, 1)}
    allowed = 2 * most + (1 if most else 0) + 0.01 * size
    if differ > allowed:
        verdict = "failed" if differ > 2 * allowed + 1 else "unproven"
        return verdict, f"{found['differ']:.2%} of its values differ; the format explains {found['drawn']:.2%}.", found
    if most > VACUOUS * size:
        return "unproven", "the format alone changes most of its values, so any file would pass.", found | {"vacuous": True}
    return "proven", "", found


def _assess_floats(rows: list[tuple], rounding: float) -> tuple[str, str, dict[str, Any]]:
    cleaned, why, hidden = [], "", 0
    for e, o, given, counts in rows:
        e, o, given = wide(e), wide(o), np.stack([wide(g) for g in given])
        counts = np.broadcast_to(counts.reshape(counts.shape + (1,) * (e.ndim - counts.ndim)), e.shape)
        odd = one_not_finite(e, o) & counts
        lost = ~np.isfinite(given).all(0)
        if odd.any() and not why:
            by = (
                "as in the format itself: its numbers are too large"
                if lost[odd].all()
                else "which the format does not explain"
            )
            why = f"{int(odd.sum())} of its values are not finite on one side only, {by}."
        counts = counts & both_finite(e, o)
        hidden += int((counts & ~np.isfinite(given[0])).sum())
        counts = counts & ~lost
        cleaned.append((e, o, given[: min(len(g) for _, _, g, _ in rows)], counts))
    if why:
        return "failed", why, {}
    if hidden:
        words = "not finite in this format, whose largest number is too small for those inside; this runtime keeps more"
        return "unproven", f"{hidden} of its values are {words}.", {}
    total = sum(int(c.sum()) for *_, c in cleaned)
    if not total:
        return "unproven", "none of its values could be compared.", {}
    centre = sums.centres(cleaned)
    peak = max(float(np.abs(e[c]).max(initial=0.0)) for e, _, _, c in cleaned)
    floor = (rounding * peak) ** 2
    whole = sums.overall(cleaned, centre)
    spread = max(float((whole.draws / total).mean()), floor, 1e-60)
    moved = float(whole.moved / total)
    found: dict[str, Any] = {
        "error": float(np.sqrt(whole.ours / total)),
        "spread": float(np.sqrt(spread)),
        "moved": float(np.sqrt(moved)),
        "draws": len(whole.draws),
        "whole": float(np.sqrt(whole.ours / total / spread)),
    }
    draws = np.sqrt(whole.draws / total / spread)
    found["worst_draw"] = float(draws.max())
    found["gain"], found["offset"] = sums.line(cleaned, centre, np.sqrt(spread), np.sqrt(moved), rounding)
    most = dict(MAX_RATIOS)
    # few values, or few that count: then one draw is far from another, and the file from all
    most["whole"] *= max(1.0, found["worst_draw"])
    for what, groups in (("slice", sums.slices(cleaned, centre)), ("row", sums.rows_of(cleaned, centre))):
        found[what], found[f"{what}_at"], count = sums.worst(groups, spread, moved, floor)
        most[what] = max(most[what], CHANCE_FACTOR + float(np.sqrt(2 * np.log(max(count, 1)))))  # the largest of so many
    few = 1 + 1 / len(whole.draws)  # a spread known from few draws explains more
    over = {what: found[what] / (most[what] * few) for what in most}
    what = max(over, key=over.__getitem__)
    if over[what] > 1:
        at = {"slice": f" in {found['slice_at']}", "row": f" in {found['row_at']}"}.get(what, "")
        return (
            "failed" if over[what] > FAILED else "unproven",
            f"its {WORDS[what]}{at} is {found[what]:.2g} times what this format explains ({most[what] * few:.2g} is taken).",
            found,
        )
    if where := sums.lost(sums.slices(cleaned, centre)):
        return "failed", f"what it says in {where} is lost: the error there is as large as the movement.", found
    if moved > 0 and spread > VACUOUS**2 * moved and np.sqrt(spread) > 2 * rounding * peak:
        words = "the format's own errors are as large as the output's movement, so any file would pass."
        return "unproven", words, found | {"vacuous": True}
    return "proven", "", found


WORDS = {"whole": "error", "gain": "scale's error", "offset": "mean error", "slice": "error", "row": "error"}
