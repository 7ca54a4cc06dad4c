"""Decides whether a file's errors are no larger than its format explains. numpy only; returns figures and a verdict.

Each figure is the file's error against the source, divided by the error of the emulation and its draws:

- ``whole``: the root mean square over an output; ``gain`` and ``offset``: of the best linear fit to the source's values.
  int8's noise hides a scale that is off by a tenth, but the mean over many values does not
- ``slice``: the root mean square for every index of every axis but the first (a class, a channel)
- ``row``: the root mean square for every row of every input

A slice or row has only a few draws, so its expected error is shrunk towards the one that the whole output predicts. It
never falls below a fixed share of the whole output's spread, however little the slice moves.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lib.convert.emulation import sums
from lib.convert.emulation.draws import Arrays, Emulation
from lib.convert.proof.comparison import ORDER, Faithfulness
from lib.error_measures import both_finite, kind, one_not_finite
from lib.error_measures import real as wide

# Ratios up to which a file is proven. The worst over more than 600 correct files were 2.1, 2.5, 2.7, 3.7 (6.3 among a
# thousand slices) and 2.5.
MAX_RATIOS = {"whole": 2.0, "gain": 5.0, "offset": 6.0, "slice": 4.0, "row": 4.0}
CHANCE_FACTOR = 1.5  # added to sqrt(2 ln n), which the largest of n slices or rows reaches by chance
FAILED = 1.5  # above the limit times this: failed rather than unproven
ROUNDING = {"fp16": 1e-5, "int8": 1e-4}  # share of the output's peak by which two runtimes differ in any format
MAX_VALUES = 60_000_000  # float64 values held for one output over all draws; further inputs are left out
VACUOUS = 0.5  # spread / movement above which any file would pass


def assess(expected: list[Arrays], ours: list[Arrays], emulation: Emulation | None, precision: str) -> Faithfulness:
    """Decides whether the file's outputs are those of its source at ``precision`` ("fp16" or "int8").

    ``expected`` (the source), ``ours`` (the file) and the emulation's lists hold one dict per input, with the outputs by
    the source's names.
    """
    if emulation is None:
        return Faithfulness("unproven", "The expected outputs of this format could not be computed.", "emulation")
    figures: dict[str, Any] = {"weights_compared": emulation.compared, "weights": emulation.weight_count, "outputs": {}}
    if emulation.weights:
        suffix = f" ({len(emulation.weights) - 1} more like this.)" if len(emulation.weights) > 1 else ""
        return Faithfulness("failed", f"{emulation.weights[0]}{suffix}", "rounding", figures)
    if emulation.notes and not emulation.outputs:
        message = f"The expected outputs of this format could not be computed: {emulation.notes[0]}"
        return Faithfulness("unproven", message, "emulation", figures)
    if not expected or not emulation.outputs:
        return Faithfulness("unproven", "No input was run, so nothing is shown.", "emulation", figures)
    worst, vacuous = ("proven", ""), []
    for name in expected[0]:
        verdict, reason, output_figures = _assess_output(name, expected, ours, emulation, ROUNDING[precision])
        figures["outputs"][name] = output_figures
        if output_figures.get("vacuous"):
            vacuous.append(f"Output {name!r}: {reason}")
        elif ORDER.index(verdict) > ORDER.index(worst[0]):
            worst = verdict, f"Output {name!r}: {reason}"
    for measure in MAX_RATIOS:
        shares = [f[measure] for f in figures["outputs"].values() if f.get(measure) is not None]
        figures[measure] = max(shares, default=None)
    if worst[0] == "proven" and vacuous:
        return Faithfulness("unproven", vacuous[0], "emulation", figures, vacuous=True)
    if worst[0] == "proven":
        worst = "proven", _reason_proven(figures, emulation)
    return Faithfulness(*worst, "emulation", figures)


def _reason_proven(figures: dict[str, Any], emulation: Emulation) -> str:
    ratio = figures["whole"]
    message = f"Its errors are {ratio:.2g} times those of the source rounded here" if ratio else "No value differs"
    if emulation.compared:
        message += (
            f"; {emulation.compared} of {emulation.weight_count} weight tensors were compared and match the "
            f"source's, rounded"
        )
    return message + "."


def _assess_output(
    name: str, expected: list[Arrays], ours: list[Arrays], emulation: Emulation, rounding: float
) -> tuple[str, str, dict[str, Any]]:
    tries = [emulation.outputs, *emulation.draws]
    masks = emulation.masks or [None] * len(expected)
    rows = []
    for k, (e, o) in enumerate(zip(expected, ours, strict=True)):
        emulated = [t[k].get(name) for t in tries]
        if name not in o:
            return "failed", "it is missing in the converted model.", {}
        if o[name].shape != e[name].shape:
            if any(g is None or g.shape != e[name].shape for g in emulated):
                continue  # rounding itself changes the number of rows
            return "failed", f"its shape is {list(o[name].shape)}, the source's is {list(e[name].shape)}.", {}
        emulated = [g for g in emulated if g is not None and g.shape == e[name].shape]
        if emulated:
            rows.append((e[name], o[name], emulated, _counted(e[name].shape, masks[k])))
    while len(rows) > 1 and sum(e.size * (2 + len(emulated)) for e, _, emulated, _ in rows) > MAX_VALUES:
        rows.pop()
    if not rows:
        return "unproven", "the number of its rows changes even with rounding alone.", {}
    if kind(rows[0][0]) not in "fc":
        return _assess_discrete(rows)
    return _assess_floats(rows, rounding)


def _counted(shape: tuple[int, ...], mask: np.ndarray | None) -> np.ndarray:
    """Returns a bool array that broadcasts to ``shape``, False for positions that the attention mask switches off."""
    if mask is not None and len(shape) >= 2 and shape[0] == mask.shape[0]:
        for axis in (1, 2):
            if len(shape) > axis and shape[axis] == mask.shape[1]:
                return mask.reshape(mask.shape[0], *(1,) * (axis - 1), mask.shape[1], *(1,) * (len(shape) - axis - 1))
    return np.ones((1,) * len(shape), bool)


def _assess_discrete(rows: list[tuple]) -> tuple[str, str, dict[str, Any]]:
    """For integers, booleans and text: compares the share of differing values with that of the draws."""
    size = differ = 0
    drawn: dict[int, int] = {}
    for e, o, emulated, counts in rows:
        counts = np.broadcast_to(counts, e.shape)
        size += int(counts.sum())
        differ += int(((e != o) & counts).sum())
        for k, g in enumerate(emulated):
            drawn[k] = drawn.get(k, 0) + int(((e != g) & counts).sum())
    worst_draw = max(drawn.values())
    figures = {"differ": differ / max(size, 1), "drawn": worst_draw / max(size, 1)}
    allowed = 2 * worst_draw + (1 if worst_draw else 0) + 0.01 * size
    if differ > allowed:
        verdict = "failed" if differ > 2 * allowed + 1 else "unproven"
        return verdict, f"{figures['differ']:.2%} of its values differ; the format explains {figures['drawn']:.2%}.", figures
    if worst_draw > VACUOUS * size:
        return (
            "unproven",
            "the format alone changes most of its values, so any file would pass.",
            figures | {"vacuous": True},
        )
    return "proven", "", figures


def _assess_floats(rows: list[tuple], rounding: float) -> tuple[str, str, dict[str, Any]]:
    cleaned, reason, hidden = [], "", 0
    for e, o, emulated, counts in rows:
        e, o, emulated = wide(e), wide(o), np.stack([wide(g) for g in emulated])
        counts = np.broadcast_to(counts.reshape(counts.shape + (1,) * (e.ndim - counts.ndim)), e.shape)
        one_sided = one_not_finite(e, o) & counts
        lost = ~np.isfinite(emulated).all(0)
        if one_sided.any() and not reason:
            by = (
                "as in the format itself: its numbers are too large"
                if lost[one_sided].all()
                else "which the format does not explain"
            )
            reason = f"{int(one_sided.sum())} of its values are not finite on one side only, {by}."
        counts = counts & both_finite(e, o)
        hidden += int((counts & ~np.isfinite(emulated[0])).sum())
        counts = counts & ~lost
        cleaned.append((e, o, emulated[: min(len(g) for _, _, g, _ in rows)], counts))
    if reason:
        return "failed", reason, {}
    if hidden:
        text = "not finite in this format: values inside exceed its largest number, but this runtime's range is wider"
        return "unproven", f"{hidden} of its values are {text}.", {}
    total = sum(int(c.sum()) for *_, c in cleaned)
    if not total:
        return "unproven", "none of its values could be compared.", {}
    centre = sums.centres(cleaned)
    peak = max(float(np.abs(e[c]).max(initial=0.0)) for e, _, _, c in cleaned)
    floor = (rounding * peak) ** 2
    whole = sums.overall(cleaned, centre)
    spread = max(float((whole.draws / total).mean()), floor, 1e-60)
    moved = float(whole.moved / total)
    figures: dict[str, Any] = {
        "error": float(np.sqrt(whole.ours / total)),
        "spread": float(np.sqrt(spread)),
        "moved": float(np.sqrt(moved)),
        "draws": len(whole.draws),
        "whole": float(np.sqrt(whole.ours / total / spread)),
    }
    draws = np.sqrt(whole.draws / total / spread)
    figures["worst_draw"] = float(draws.max())
    figures["gain"], figures["offset"] = sums.line(cleaned, centre, np.sqrt(spread), np.sqrt(moved), rounding)
    cap = dict(MAX_RATIOS)
    # with few values (or few that count) the draws differ a lot from one another, and so may the file
    cap["whole"] *= max(1.0, figures["worst_draw"])
    for key, groups in (("slice", sums.slices(cleaned, centre)), ("row", sums.rows_of(cleaned, centre))):
        figures[key], figures[f"{key}_at"], count = sums.worst(groups, spread, moved, floor)
        # sqrt(2 ln n): how far the largest of n ratios lies out by chance
        cap[key] = max(cap[key], CHANCE_FACTOR + float(np.sqrt(2 * np.log(max(count, 1)))))
    slack = 1 + 1 / len(whole.draws)  # a spread estimated from few draws is itself uncertain
    over = {key: figures[key] / (cap[key] * slack) for key in cap}
    key = max(over, key=over.__getitem__)
    if over[key] > 1:
        at = {"slice": f" in {figures['slice_at']}", "row": f" in {figures['row_at']}"}.get(key, "")
        return (
            "failed" if over[key] > FAILED else "unproven",
            f"its {WORDS[key]}{at} is {figures[key]:.2g} times what this format explains ({cap[key] * slack:.2g} "
            f"is allowed).",
            figures,
        )
    if where := sums.lost(sums.slices(cleaned, centre)):
        return "failed", f"its signal in {where} is lost: the error there is as large as the movement.", figures
    if moved > 0 and spread > VACUOUS**2 * moved and np.sqrt(spread) > 2 * rounding * peak:
        text = "the format's own errors are as large as the output's movement, so any file would pass."
        return "unproven", text, figures | {"vacuous": True}
    return "proven", "", figures


WORDS = {"whole": "error", "gain": "scale's error", "offset": "mean error", "slice": "error", "row": "error"}
