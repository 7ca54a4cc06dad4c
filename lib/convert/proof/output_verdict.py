"""The verdict on one output of a conversion by the tolerance of its precision. numpy only; see ``verdict.py``."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lib.convert.proof import measures
from lib.convert.proof.measures import FLOOR, Pair
from lib.convert.proof.tolerances import (
    EXTREME,
    MAX_ROUNDING,
    MAX_SENSITIVITY,
    MIN_SLICE_MOVEMENT,
    NOISE_FACTOR,
    PERTURBED_ROUNDING,
    ROUNDING_64,
    Tolerance,
)
from lib.error_measures import absolute_error, cosine, finite, one_not_finite, sqnr_db


@dataclass(slots=True)
class OutputError:
    """Errors of one output over all cases. ``moves``: its largest change between two ordinary inputs / its peak."""

    name: str
    verdict: str
    reason: str
    max_abs_error: float | None
    max_rel_error: float | None
    range_error: float | None  # max_abs_error / peak
    cosine: float | None
    sqnr_db: float | None
    top1_agreement: float | None
    equal: float | None  # share of equal elements, for integers and booleans
    moves: float | None
    noise: float | None  # change of the source's output under perturbed inputs / peak
    slice_error: float | None = None  # the worst slice's error / its own movement


def output_error(
    name: str,
    pairs: list[Pair],
    tolerance: Tolerance,
    *,
    inputs: bool = True,
    constant: bool = False,
    explained: bool = False,
) -> OutputError:
    """Compute the errors of one output and its verdict.

    ``inputs`` False: the model has none. ``constant``: the output depends on none. ``explained``: an emulation decides
    whether the errors are those of the precision, so only shapes, dtypes, NaN and movement are checked here.
    """
    error = OutputError(name, "failed", "", *(None,) * 9)
    couples: list[tuple[str, np.ndarray, np.ndarray]] = []
    for pair in pairs:
        if pair.perturbed or pair.ours is None:
            continue
        expected, ours = pair.expected[name], pair.ours.get(name)
        if ours is None or (mismatch := _mismatch(expected, ours, tolerance)):
            error.reason = f"{'it is missing in the converted model' if ours is None else mismatch} ({pair.kind} inputs)."
            rows_differ = ours is not None and expected.dtype == ours.dtype and expected.shape[1:] == ours.shape[1:]
            return _unproven_if_sensitive(error, pairs, 0.0 if rows_differ else np.inf)
        couples.append((pair.kind, expected, ours))
    if tolerance.rtol == 0.0 and (different_kinds := [k for k, e, o in couples if e.tobytes() != o.tobytes()]):
        error.reason = f"its bits differ ({different_kinds[0]} inputs)."
        return error
    if measures.kind(couples[0][1]) in "iubO":
        return _discrete_output(error, pairs, tolerance, inputs and not constant)
    typical = measures.typical_peak(name, pairs)
    error.noise = measures.noise(name, pairs, typical, "ordinary")
    rounding = dict.fromkeys(("ordinary", *PERTURBED_ROUNDING), min(NOISE_FACTOR * (error.noise or 0.0), MAX_ROUNDING))
    gaps, sizes, noises, absolute = [], [], [], 0.0
    peaks = [measures.peak(e) for k, e, _ in couples if k == "sample"]
    median_peak = float(np.median(peaks)) if peaks else typical
    for kind, expected, ours in couples:
        # large values of an extreme case must not hide errors of ordinary cases
        peak = max(typical, measures.peak(expected)) if kind in ("zeros", *EXTREME) else typical
        if kind == "sample":  # an outlier sample must not hide errors of the others
            peak = min(typical, max(measures.peak(expected), median_peak))
        if kind in PERTURBED_ROUNDING:
            own_rounding = NOISE_FACTOR * (measures.noise(name, pairs, peak, kind) or 0.0)
            rounding[kind] = max(rounding[kind], min(own_rounding, PERTURBED_ROUNDING[kind]))
        a, b = finite(expected, ours)
        gap = absolute_error(a, b)
        absolute = max(absolute, float(gap.max(initial=0.0)))
        gaps.append(gap / peak)
        sizes.append(np.abs(a) / peak)
        noises.append(np.full(gap.size, rounding.get(kind, rounding["ordinary"])))
    gap, size = np.concatenate(gaps), np.concatenate(sizes)
    not_small = size > 1e-3  # relative errors are meaningless close to 0
    error.max_abs_error, error.range_error = absolute, float(gap.max(initial=0.0))
    error.max_rel_error = float((gap[not_small] / size[not_small]).max(initial=0.0))
    error.cosine = min((c for c in (cosine(e, o) for _, e, o in couples) if c is not None), default=None)
    error.sqnr_db = min((r for r in (sqnr_db(e, o) for _, e, o in couples) if r is not None), default=None)
    error.top1_agreement = measures.top1([(e, o) for _, e, o in couples])
    error.moves = measures.movement(name, pairs, typical)
    error.slice_error, where = measures.slices(name, pairs, MIN_SLICE_MOVEMENT if tolerance.rounding is None else 0.0)
    if explained:
        error.verdict, error.reason = _check_movement(error, tolerance, inputs and not constant)
        return error
    if tolerance.rounding and all(e.dtype == np.float64 == o.dtype for _, e, o in couples):
        tolerance = replace(tolerance, rounding=ROUNDING_64)  # float32's limit would accept weights rounded to float32
    error.verdict, error.reason = _verdict(error, gap, size, np.concatenate(noises), tolerance, inputs and not constant)
    if tolerance.rtol != 0.0:
        error = _unproven_if_sensitive(error, pairs, error.range_error, typical)
    if error.verdict == "proven" and tolerance.slice and error.slice_error > tolerance.slice:
        error.verdict = "unproven" if tolerance.rounding else "failed"
        error.reason = (
            f"its slice {where} alone has an error of {error.slice_error:.2g} times its movement between inputs; "
            f"at most {tolerance.slice:g} is allowed, however small it is next to the rest."
        )
    return error


def _verdict(
    error: OutputError, gap: np.ndarray, size: np.ndarray, noise: np.ndarray, tolerance: Tolerance, inputs: bool
) -> tuple[str, str]:
    """Apply the tolerance. Returns the verdict and its reason.

    ``gap``, ``size``, ``noise``: all |ours - expected|, |expected| and allowed rounding, as shares of the peak.
    """
    largest = error.range_error or 0.0
    if tolerance.rtol is not None and tolerance.atol is not None:
        # a model that amplifies rounding may have larger errors, within bounds
        atol = np.maximum(tolerance.atol, noise) if tolerance.rounding else tolerance.atol
        outside = gap > tolerance.rtol * size + atol
        if outside.any():
            share = float(outside.mean())
            return "failed", f"{share:.2%} of its values are outside the tolerance, by up to {largest:.2g} of its range."
    if tolerance.most is not None and not largest <= tolerance.most:
        return "failed", f"a value is off by {largest:.2g} of its range; at most {tolerance.most:g} is allowed."
    for key, floor in (("cosine", tolerance.cosine), ("sqnr_db", tolerance.sqnr_db), ("top1_agreement", tolerance.top1)):
        value = getattr(error, key)
        if floor is not None and value is not None and not value >= floor:
            return "failed", f"{key} is {value:.4g}; at least {floor:g} is required."
    if tolerance.rounding is not None:
        explained = np.maximum(tolerance.rounding, noise) if tolerance.rounding else np.zeros_like(noise)
        if (exceeds := gap > explained).any():
            return "unproven", (
                f"an error is {float(gap[exceeds].max()):.2g} of its range: inside the tolerance, but over the "
                f"{float(explained[exceeds].min()):.2g} that rounding explains. A single wrong weight may look like this."
            )
    return _check_movement(error, tolerance, inputs)


def _check_movement(error: OutputError, tolerance: Tolerance, inputs: bool) -> tuple[str, str]:
    """Check that the output changes enough with the inputs for the agreement to be meaningful."""
    if not inputs:
        return "proven", ""
    if error.moves is None:
        return "unproven", "no two inputs of one kind were run, so it is unknown whether it depends on them."
    if not error.moves or error.moves < tolerance.moves:
        text = f"moves by only {error.moves:.2g} of its range" if error.moves else "does not change at all"
        return "unproven", (
            f"it {text} from one input to another; the check would be vacuous. With random weights, calibrated batch norms "
            "make it move."
        )
    return "proven", ""


def _discrete_output(error: OutputError, pairs: list[Pair], tolerance: Tolerance, inputs: bool) -> OutputError:
    """Decide on integers, booleans or strings by the share of equal elements among those that change."""
    error.equal, share_among_changing = measures.equal(error.name, pairs)
    error.moves = None
    for group in measures.groups(error.name, pairs):
        first, *rest = (p.expected[error.name] for p in group)
        changed = any(first.shape != o.shape or bool((first != o).any()) for o in rest)
        error.moves = max(error.moves or 0.0, float(changed)) if rest else error.moves
    share = min(error.equal, 1.0 if share_among_changing is None else share_among_changing)
    if share < tolerance.whole:
        error.reason = f"only {share:.2%} of its changing values are equal; {tolerance.whole:.0%} is required."
        error = _unproven_if_sensitive(error, pairs, 1 - share)
    elif inputs and not error.moves:
        error.verdict, error.reason = "unproven", "it is the same for every input; the check would be vacuous."
    else:
        error.verdict = "proven"
    return error


def _mismatch(expected: np.ndarray, ours: np.ndarray, tolerance: Tolerance) -> str:
    """Describe a mismatch of shape, dtype, NaN or infinity; "" if there is none."""
    if expected.shape != ours.shape:
        return f"its shape is {list(ours.shape)}, the source's is {list(expected.shape)}"
    if measures.kind(expected) != measures.kind(ours) or (tolerance.rtol == 0.0 and expected.dtype != ours.dtype):
        return f"its dtype is {ours.dtype}, the source's is {expected.dtype}"
    if measures.kind(expected) in "fc" and one_not_finite(measures.wide(expected), measures.wide(ours)).any():
        return "NaN or infinity on one side only"
    return ""


def _unproven_if_sensitive(error: OutputError, pairs: list[Pair], gap: float, typical: float = FLOOR) -> OutputError:
    """Turn "failed" into "unproven" if one ulp in the inputs changes the source's output by about as much as the error."""
    sensitivity = measures.sensitivity(error.name, pairs, "ordinary", typical)
    if error.verdict == "failed" and sensitivity > MAX_SENSITIVITY and gap < np.inf and gap <= NOISE_FACTOR * sensitivity:
        error.verdict = "unproven"
        what = "the number of its rows" if np.isinf(sensitivity) else f"it by {sensitivity:.2g} of its range"
        error.reason += f" But the last bit of its inputs alone changes {what} in the source, so this is inconclusive."
    return error
