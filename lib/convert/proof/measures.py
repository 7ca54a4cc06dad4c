"""Measure outputs over all cases: their errors, and how much they change between inputs. The verdicts are made elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lib import error_measures
from lib.error_measures import absolute_error, finite, kind
from lib.error_measures import real as wide

Arrays = dict[str, np.ndarray]
TOP1_LEAST = 2  # minimum columns of an output that may be class scores
ROUNDING = 3e-7  # share of the output's peak: float32 rounding of a sum of larger numbers
FLOOR = 1e-30
MADE_UP, REALISTIC = ("ordinary", "resized"), ("lifelike", "sample")
IN_DOMAIN = MADE_UP + REALISTIC  # kinds of cases within the domain of a model


@dataclass(slots=True)
class Pair:
    """Outputs of source and target on one case, by the source's names. Other fields as in ``cases.Case``."""

    kind: str
    expected: Arrays
    ours: Arrays | None  # None: the target rejected the case
    why: str = ""
    sizes: dict[str, int] | None = None
    seed: int = 0
    changed: str = ""

    @property
    def perturbed(self) -> bool:
        """Whether the case is perturbed, and so ran on the source only."""
        return self.kind.startswith("perturbed")


def peak(value: np.ndarray) -> float:
    """Return the largest finite |value|, at least FLOOR so that it can be a divisor."""
    return max(error_measures.peak(wide(value)), FLOOR)


def typical_peak(name: str, pairs: list[Pair], otherwise: float = FLOOR) -> float:
    """Return the peak of an output over cases of IN_DOMAIN, or ``otherwise`` if it is not a float."""
    outputs = [p.expected[name] for p in pairs if p.kind in IN_DOMAIN and name in p.expected]
    return max((peak(v) for v in outputs if kind(v) in "fc"), default=otherwise)


def groups(name: str, pairs: list[Pair]) -> list[list[Pair]]:
    """Group the pairs of IN_DOMAIN by kind of inputs. Within a group all inputs differ."""
    by_kind = [[p for p in pairs if p.kind == which and name in p.expected] for which in IN_DOMAIN]
    return [group for group in by_kind if group]


def movement(name: str, pairs: list[Pair], peak: float) -> float | None:
    """Return the largest change of an output between two inputs, as a share of ``peak``. None if no group has two pairs.

    For noise, this is the smaller value of the two sizes; realistic inputs count if they move the output more than noise.
    A number of rows that depends on the inputs counts as a full change.
    """
    changes: dict[str, float] = {}
    for group in groups(name, pairs):
        values = [p.expected[name] for p in group]
        if len({v.shape for v in values}) > 1:
            changes[group[0].kind] = 1.0
        elif len(values) > 1 and values[0].size:
            changes[group[0].kind] = float(_spread(np.stack([wide(v) for v in values])).max()) / peak
    noise = [changes[kind] for kind in MADE_UP if kind in changes]
    return max(([min(noise)] if noise else []) + [changes[kind] for kind in REALISTIC if kind in changes], default=None)


def slices(name: str, pairs: list[Pair], least: float = 0.0) -> tuple[float, str]:
    """Return the largest ratio error / movement of any slice of the output, and its index, such as ``[:, 5]``.

    A single peak for the whole output would hide errors of small values, such as scores below 1 next to boxes up to 640.
    So each index of each axis is compared with its own movement, and so is the whole output. Errors up to ``ROUNDING`` of
    the peak are ignored. ``least``: the minimum movement of a slice, as a share of the whole's; if not 0, the first axis
    (the batch) has no slices. In a lossy precision, a class that hardly moves or a single row must not decide alone.
    """
    worst, where = 0.0, ""
    for group in groups(name, pairs):
        outputs = [(wide(p.expected[name]), wide(p.ours[name])) for p in group if p.ours and name in p.ours]
        if len(outputs) < 2 or len({e.shape for e, _ in outputs}) > 1 or not outputs[0][0].size:
            continue
        expected, ours = np.stack([e for e, _ in outputs]), np.stack([o for _, o in outputs])
        gap = np.nan_to_num(absolute_error(expected, ours), posinf=0.0).max(0)
        spread, free = _spread(expected), ROUNDING * max(peak(expected), FLOOR)
        floor = max(least * float(spread.max()), FLOOR)
        share = max(float(gap.max()) - free, 0.0) / max(float(spread.max()), FLOOR)
        worst, where = max((worst, where), (share, "[:]"))
        for axis in range(1 if least else 0, gap.ndim):
            if gap.shape[axis] < 2:
                continue
            other_axes = tuple(k for k in range(gap.ndim) if k != axis)
            shares = np.maximum(gap.max(other_axes) - free, 0.0) / np.maximum(spread.max(other_axes), floor)
            k = int(shares.argmax())
            worst, where = max((worst, where), (float(shares[k]), f"[{':, ' * axis}{k}]"))
    return worst, where


def movement_by_input(name: str, pairs: list[Pair], peak: float) -> Iterator[tuple[str, float]]:
    """Yield each input's name and the change of the output when only that input changes, as a share of ``peak``."""
    first = next((p for p in pairs if p.kind == "ordinary"), None)
    for pair in pairs:
        if pair.kind == "alone" and first is not None:
            a, b = first.expected[name], pair.expected[name]
            if a.shape != b.shape or kind(a) not in "fc":
                yield pair.changed, float(a.shape != b.shape or bool((a != b).any()))
            else:
                yield pair.changed, float(_spread(np.stack([wide(a), wide(b)])).max(initial=0.0)) / peak


def noise(name: str, pairs: list[Pair], peak: float, which: str) -> float | None:
    """Return how far the source's output moves when inputs of kind ``which`` are perturbed, as a share of ``peak``.

    At most four times the root mean square, so that one sensitive element does not excuse all others.
    """
    gaps = [_moved(x, y) / peak for x, y in _perturbed(name, pairs, which) if x.shape == y.shape]
    return max((min(float(gap.max()), 4 * float(np.sqrt((gap**2).mean()))) for gap in gaps if gap.size), default=None)


def sensitivity(name: str, pairs: list[Pair], which: str, typical: float = FLOOR) -> float:
    """Return the largest change of an element under perturbation, as a share of the peak.

    For integers: the share of elements that change. Infinite if the shape changes.
    """
    largest = 0.0
    for x, y in _perturbed(name, pairs, which):
        if x.shape != y.shape:
            return float("inf")
        if kind(x) in "fc":
            largest = max(largest, float(_moved(x, y).max(initial=0.0)) / max(typical, peak(x)))
        elif x.size:
            largest = max(largest, float((x != y).mean()))
    return largest


def top1(couples: list[tuple[np.ndarray, np.ndarray]]) -> float | None:
    """Return the share of rows whose argmax is the same, for outputs that may be class scores. None if there are none."""
    rows = [(e, o) for e, o in couples if e.ndim == 2 and e.shape[1] >= TOP1_LEAST and kind(e) == "f"]
    matches = [np.argmax(e, 1) == np.argmax(o, 1) for e, o in rows]
    return float(np.concatenate(matches).mean()) if matches else None


def equal(name: str, pairs: list[Pair]) -> tuple[float, float | None]:
    """Return the share of equal elements, and the share among those that change between cases (the lowest of all groups)."""
    couples = [(p.expected[name], p.ours[name]) for p in pairs if not p.perturbed and p.ours and name in p.ours]
    matches = [np.asarray(e == o).reshape(-1) for e, o in couples]
    overall = float(np.concatenate(matches).mean()) if sum(s.size for s in matches) else 1.0
    shares = []
    for group in groups(name, pairs):
        outputs = [(p.expected[name], p.ours[name]) for p in group if p.ours and name in p.ours]
        if len(outputs) > 1 and len({e.shape for e, _ in outputs}) == 1:
            expected, ours = np.stack([e for e, _ in outputs]), np.stack([o for _, o in outputs])
            changing = np.broadcast_to((expected != expected[0]).any(0), expected.shape)
            if changing.any():
                shares.append(float((expected == ours)[changing].mean()))
    return overall, min(shares, default=None)


def _perturbed(name: str, pairs: list[Pair], which: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the source's output on inputs of kind ``which`` and on the same inputs perturbed."""
    plain = {p.seed: p.expected[name] for p in pairs if p.kind == which and name in p.expected}
    perturbed = "perturbed" if which == "ordinary" else f"perturbed {which}"
    for p in pairs:
        if p.kind == perturbed and p.seed in plain and name in p.expected:
            yield plain[p.seed], p.expected[name]


def _moved(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the finite values of |y - x|, flattened."""
    gap = absolute_error(*finite(x, y))
    return gap[np.isfinite(gap)]


def _spread(values: np.ndarray) -> np.ndarray:
    """Return maximum minus minimum along the first axis, 0 where a value is not finite."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(values.max(0) - values.min(0), nan=0.0, posinf=0.0, neginf=0.0)
