"""Whether a file's errors are those that its format explains. numpy only; gives figures and a verdict.

The errors of the file against the source are set against those of the emulation and of its draws, as ratios:

- ``whole``: root mean square over an output, and ``gain``, ``offset`` of its best line through the source's values:
  a scale that is wrong by a tenth hides in the noise of int8 and not in its mean;
- ``slice``: the same root mean square for every index of every axis but the first (a class, a channel);
- ``row``: for every row of every input.

A slice's or row's own few draws are drawn towards what the whole output would explain of it, and a small one that
hardly moves is never held to less than a share of the whole's spread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.convert.emulation import Arrays, Emulation
from lib.convert.measures import kind, wide

# ratios up to which a file is proven, from the bench that docs/convert.md describes
MOST = {"whole": 2.0, "gain": 5.0, "offset": 6.0, "slice": 4.0, "row": 4.0}
AMONG = 1.5  # over what the largest of so many slices or rows is by chance
FAILED = 1.5  # times that: failed, not unproven
ROUNDING = {"fp16": 1e-5, "int8": 1e-4}  # of the peak: two runtimes differ by so much whatever the format
LEAST_SHARE = 0.25  # of the whole output's spread, for a slice or row that hardly moves
TOWARDS = 4  # draws that the whole's share counts as, beside a slice's own
MOST_VALUES = 60_000_000  # of one output, all draws together, that are held as float64; further inputs are left out
VACUOUS = 0.5  # spread / movement from which on any file would pass


@dataclass(slots=True)
class _Sums:
    """Of squares, over elements: movement of the source, error of the file, error of each draw."""

    count: np.ndarray
    moved: np.ndarray
    ours: np.ndarray
    draws: np.ndarray  # first axis draws


def judge(expected: list[Arrays], ours: list[Arrays], emulation: Emulation | None, precision: str) -> dict[str, Any]:
    """``verdict``, ``reason``, ``method``, ``figures``: is the file what ``precision`` gives of its source?

    ``precision`` is "fp16" or "int8". ``expected``, ``ours`` and the emulation's lists go by input, outputs by the
    source's names.
    """
    if emulation is None:
        return _said("unproven", "What this format must give could not be worked out.", "emulation", {})
    figures: dict[str, Any] = {"weights_compared": emulation.compared, "weights": emulation.held, "outputs": {}}
    if emulation.weights:
        more = f" (and {len(emulation.weights) - 1} more)" if len(emulation.weights) > 1 else ""
        return _said("failed", f"The weight {emulation.weights[0]}{more}", "rounding", figures)
    if emulation.notes and not emulation.outputs:
        said = f"What this format must give could not be worked out: {emulation.notes[0]}"
        return _said("unproven", said, "emulation", figures)
    if not expected or not emulation.outputs:
        return _said("unproven", "No input was run, so nothing is shown.", "emulation", figures)
    worst = ("proven", "")
    for name in expected[0]:
        verdict, reason, found = _output(name, expected, ours, emulation, ROUNDING[precision])
        figures["outputs"][name] = found
        if ORDER.index(verdict) > ORDER.index(worst[0]):
            worst = verdict, f"Output {name!r}: {reason}"
    for what in MOST:
        shares = [f[what] for f in figures["outputs"].values() if f.get(what) is not None]
        figures[what] = max(shares, default=None)
    if worst[0] == "proven":
        worst = "proven", _good(figures, emulation)
    return _said(*worst, "emulation", figures)


ORDER = ("proven", "unproven", "failed")


def _said(verdict: str, reason: str, method: str, figures: dict[str, Any]) -> dict[str, Any]:
    return {"verdict": verdict, "reason": reason, "method": method, "figures": figures}


def _good(figures: dict[str, Any], emulation: Emulation) -> str:
    whole = figures["whole"]
    said = f"Its errors are {whole:.2g} times those of the source rounded here" if whole else "No value differs"
    if emulation.compared:
        said += f"; {emulation.compared} of {emulation.held} weight tensors were compared and are the source's, rounded"
    return said + "."


def _output(
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
            rows.append((e[name], o[name], given, _counts(e[name].shape, masks[k])))
    while len(rows) > 1 and sum(e.size * (2 + len(given)) for e, _, given, _ in rows) > MOST_VALUES:
        rows.pop()
    if not rows:
        return "unproven", "the number of its rows changes with rounding itself.", {}
    if kind(rows[0][0]) not in "fc":
        return _equal(rows)
    return _floats(rows, rounding)


def _counts(shape: tuple[int, ...], mask: np.ndarray | None) -> np.ndarray:
    """Which elements count: not the rows that an attention mask switches off. Shaped to broadcast."""
    if mask is not None and len(shape) >= 2 and shape[0] == mask.shape[0]:
        for axis in (1, 2):
            if len(shape) > axis and shape[axis] == mask.shape[1]:
                return mask.reshape(mask.shape[0], *(1,) * (axis - 1), mask.shape[1], *(1,) * (len(shape) - axis - 1))
    return np.ones((1,) * len(shape), bool)


def _equal(rows: list[tuple]) -> tuple[str, str, dict[str, Any]]:
    """Integers, booleans and text: a share differs, and so does one of each draw."""
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
        return "unproven", "the format alone changes most of its values, so any file would pass.", found
    return "proven", "", found


def _floats(rows: list[tuple], rounding: float) -> tuple[str, str, dict[str, Any]]:
    cleaned, why, hidden = [], "", 0
    for e, o, given, counts in rows:
        e, o, given = wide(e), wide(o), np.stack([wide(g) for g in given])
        counts = np.broadcast_to(counts.reshape(counts.shape + (1,) * (e.ndim - counts.ndim)), e.shape)
        odd = ~(np.isfinite(o) & np.isfinite(e)) & ~((np.isnan(e) & np.isnan(o)) | (e == o)) & counts
        lost = ~np.isfinite(given).all(0)
        if odd.any() and not why:
            by = (
                "as in the format itself: its numbers are too large"
                if lost[odd].all()
                else "which the format does not explain"
            )
            why = f"{int(odd.sum())} of its values are not finite on one side only, {by}."
        counts = counts & np.isfinite(e) & np.isfinite(o)
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
    centre = _centre(cleaned)
    peak = max(float(np.abs(e[c]).max(initial=0.0)) for e, _, _, c in cleaned)
    floor = (rounding * peak) ** 2
    whole = _whole(cleaned, centre)
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
    found["gain"], found["offset"] = _line(cleaned, centre, np.sqrt(spread), np.sqrt(moved), rounding)
    most = dict(MOST)
    # few values, or few that count: then one draw is far from another, and the file from all
    most["whole"] *= max(1.0, found["worst_draw"])
    for what, groups in (("slice", _slices(cleaned, centre)), ("row", _rows(cleaned, centre))):
        found[what], found[f"{what}_at"], count = _worst(groups, spread, moved, floor)
        most[what] = max(most[what], AMONG + float(np.sqrt(2 * np.log(max(count, 1)))))  # the largest of so many
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
    if moved > 0 and spread > VACUOUS**2 * moved and np.sqrt(spread) > 2 * rounding * peak:
        return "unproven", "the format's own errors are as large as the output's movement, so any file would pass.", found
    return "proven", "", found


WORDS = {"whole": "error", "gain": "scale's error", "offset": "mean error", "slice": "error", "row": "error"}


def _centre(rows: list[tuple]) -> list[np.ndarray]:
    """The mean over inputs and their first axes at every place; of each input alone where shapes differ."""
    if len({e.shape[1:] for e, *_ in rows}) == 1 and rows[0][0].ndim:
        whole = np.concatenate([np.where(c, e, np.nan) for e, _, _, c in rows])
        known = np.isfinite(whole)
        mean = np.where(known, whole, 0.0).sum(0) / np.maximum(known.sum(0), 1)
        return [mean] * len(rows)
    return [np.array(e[c].mean() if c.any() else 0.0) for e, _, _, c in rows]


def _whole(rows: list[tuple], centre: list[np.ndarray]) -> _Sums:
    parts = [_sums(*row, middle, None) for row, middle in zip(rows, centre, strict=True)]
    return _Sums(*(sum(getattr(p, f) for p in parts) for f in ("count", "moved", "ours", "draws")))


def _sums(
    e: np.ndarray, o: np.ndarray, given: np.ndarray, counts: np.ndarray, middle: np.ndarray, axis: int | None
) -> _Sums:
    """Over all axes but ``axis``."""
    others = tuple(k for k in range(e.ndim) if k != axis)
    with np.errstate(invalid="ignore", over="ignore"):
        parts = (np.where(counts, v, 0.0) ** 2 for v in (e - middle, o - e))
        moved, ours = (p.sum(others) for p in parts)
        draws = (np.where(counts, given - e, 0.0) ** 2).sum(tuple(k + 1 for k in others))
    return _Sums(counts.sum(others), moved, ours, draws)


def _slices(rows: list[tuple], centre: list[np.ndarray]) -> Iterator[tuple[str, _Sums]]:
    for axis in range(1, rows[0][0].ndim):
        parts = [_sums(*row, m, axis) for row, m in zip(rows, centre, strict=True) if row[0].ndim > axis]
        size = max(p.count.shape[0] for p in parts)
        if size > 1:
            padded = (
                sum(np.pad(v, [(0, 0)] * (v.ndim - 1) + [(0, size - v.shape[-1])]) for v in (getattr(p, f) for p in parts))
                for f in ("count", "moved", "ours", "draws")
            )
            yield f"[{':, ' * axis}{{}}]", _Sums(*padded)


def _rows(rows: list[tuple], centre: list[np.ndarray]) -> Iterator[tuple[str, _Sums]]:
    for k, (row, middle) in enumerate(zip(rows, centre, strict=True)):
        if row[0].ndim and row[0].size > row[0].shape[0]:
            yield f"row {{}} of input {k}", _sums(*row, middle, 0)


def _worst(groups: Iterator[tuple[str, _Sums]], spread: float, moved: float, floor: float) -> tuple[float, str, int]:
    """The largest ratio of a group's error to what is explained of it, where that is, and of how many groups."""
    worst, where, number = 0.0, "", 0
    share = spread / moved if moved > 0 else 0.0
    for at, sums in groups:
        number += int((sums.count > 0).sum())
        count = np.maximum(sums.count, 1)
        draws = len(sums.draws)
        own = sums.draws.mean(0) / count
        explained = (TOWARDS * share * sums.moved / count + draws * own) / (TOWARDS + draws)
        explained = np.maximum(explained, max(LEAST_SHARE**2 * spread, floor))
        ratios = np.sqrt(sums.ours / count / explained)
        k = int(ratios.argmax())
        if ratios[k] > worst:
            worst, where = float(ratios[k]), at.format(k)
    return worst, where, number


def _line(rows: list[tuple], centre: list[np.ndarray], spread: float, moved: float, rounding: float) -> tuple[float, float]:
    """How far the file's scale and mean are off, over how far the draws' are. Of the whole output."""
    total = sum(int(c.sum()) for *_, c in rows)
    draws = len(rows[0][2])
    gains, offsets = np.zeros(draws + 1), np.zeros(draws + 1)
    for (e, o, given, counts), middle in zip(rows, centre, strict=True):
        errors = np.where(counts, np.concatenate([(o - e)[None], given - e]), 0.0)
        axes = tuple(range(1, errors.ndim))
        offsets += errors.sum(axes) / total
        gains += (errors * np.where(counts, e - middle, 0.0)).sum(axes) / total
    # noise alone moves a mean over so many values by this much
    least = spread / np.sqrt(total)
    gain = abs(gains[0]) / max(np.sqrt((gains[1:] ** 2).mean()), least * moved, rounding * moved**2, 1e-60)
    offset = abs(offsets[0]) / max(np.sqrt((offsets[1:] ** 2).mean()), least, LEAST_SHARE * 0.1 * spread, 1e-60)
    return float(gain), float(offset)
