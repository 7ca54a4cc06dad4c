"""Decide whether two models compute the same thing, from their outputs. numpy only; independent of formats.

``decide`` takes the outputs of source and target on the same cases (``cases.py``) and returns one of three verdicts:

- ``failed``: a shape, dtype or value is outside the tolerance of the precision, a NaN is on one side only, or the target
  rejected a case that the source accepted.
- ``unproven``: no error was found, but the evidence is weak. The outputs hardly change with the inputs (any file would
  pass), the error is inside the tolerance but far larger than rounding explains (as with one wrong weight among
  millions), or the source is not deterministic.
- ``proven``: none of these.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

import numpy as np

from lib.convert.proof import measures
from lib.convert.proof.comparison import ORDER, Faithfulness, Verdict
from lib.convert.proof.measures import Pair
from lib.convert.proof.output_verdict import OutputError, output_error
from lib.convert.proof.tolerances import EXTREME, MAX_SENSITIVITY, MIN_EFFECT, PERTURBED_ROUNDING, TOLERANCES, Tolerance
from lib.error_measures import cosine


def decide(
    pairs: list[Pair],
    precision: str,
    *,
    inputs: bool = True,
    constants: Collection[str] = (),
    explained: Faithfulness | None = None,
) -> Verdict:
    """Return the verdict on the outputs of ``pairs``, by the tolerance of ``precision``.

    ``inputs`` False: the model has none (weights, a constant), so its outputs need not change. ``constants``: outputs that
    depend on no input. ``explained``: the verdict of an emulation of a lossy precision, which replaces the tolerance.
    """
    tolerance = TOLERANCES[precision]
    if len(pairs) > 1:  # zeros may give 0 / 0, where runtimes differ
        pairs = [p for p in pairs if p.kind != "zeros" or all(_all_finite(v) for v in p.expected.values())]
    compared = [p for p in pairs if not p.perturbed]
    extremes = tolerance.extremes and explained is None
    not_judged = [] if extremes else [p for p in compared if p.kind in EXTREME and p.ours is not None]

    def without_figures(verdict: str, reason: str) -> Verdict:
        return Verdict(precision, asdict(tolerance), len(compared), verdict, reason)

    if refused := [p for p in compared if p.ours is None]:
        sizes = f" at {_sizes(refused[0].sizes)}" if refused[0].sizes else ""
        refusal = f"The converted model refuses inputs that the source takes ({refused[0].kind}{sizes}): {refused[0].why}"
        return without_figures("failed", refusal)
    if not extremes:
        pairs, compared = ([p for p in group if p.kind not in EXTREME] for group in (pairs, compared))
    if not compared:
        return without_figures("unproven", "The source could not be run on made-up inputs.")
    names = list(compared[0].expected)
    if not names:
        return without_figures("unproven", "The model has no outputs to compare.")
    if unstable_kinds := _nondeterministic(names, pairs) if tolerance.rtol != 0.0 else []:
        not_judged += [p for p in compared if p.kind in unstable_kinds]
        pairs = [p for p in pairs if p.kind.removeprefix("perturbed ") not in unstable_kinds]
        compared = [p for p in compared if p.kind not in unstable_kinds]
    fixed = {*constants, *_constant(names, compared)}
    options = {"inputs": inputs, "explained": explained is not None}
    errors = [output_error(name, pairs, tolerance, constant=name in fixed, **options) for name in names]
    worst = max(errors, key=lambda e: ORDER.index(e.verdict))
    verdict = worst.verdict
    reason = _reason_proven(errors, tolerance, precision, compared, inputs)
    if unstable_kinds:
        kinds = " and ".join(unstable_kinds)
        reason += f" Not judged: inputs of {kinds}, whose last bit alone moves the source by over {MAX_SENSITIVITY:.0%}."
    if worst.reason:
        reason = f"Output {worst.name!r}: {worst.reason}"
    if explained and ORDER.index(explained.verdict) > ORDER.index(verdict):
        verdict, reason = explained.verdict, explained.reason
    if verdict == "proven" and (untested := _input_without_effect(names, pairs, tolerance)):
        verdict, reason = (
            "unproven",
            f"No output shows the effect of input {untested!r}: alone, it moves nothing beyond rounding.",
        )
    return Verdict(
        precision,
        asdict(tolerance),
        len(compared),
        verdict,
        reason,
        max_abs_error=_largest(e.max_abs_error for e in errors),
        max_rel_error=_largest(e.max_rel_error for e in errors),
        range_error=_largest(e.range_error for e in errors),
        cosine=_smallest(e.cosine for e in errors),
        sqnr_db=_smallest(e.sqnr_db for e in errors),
        top1_agreement=_smallest(e.top1_agreement for e in errors),
        beyond=_not_judged(not_judged, names),
        outputs=[{k: _finite_or_none(v) for k, v in asdict(e).items()} for e in errors],
    )


def _constant(names: list[str], compared: list[Pair]) -> list[str]:
    """Return outputs that are bitwise equal on all inputs, including extreme ones. [] if all outputs are."""
    constant: list[str] = []
    if not {"zeros", "large"} <= {p.kind for p in compared}:
        return constant  # a few ordinary inputs are not enough evidence
    for name in names:
        values = [p.expected[name] for p in compared]
        if all(v.shape == values[0].shape and v.tobytes() == values[0].tobytes() for v in values[1:]):
            constant.append(name)
    return constant if len(constant) < len(names) else []


def _all_finite(value: np.ndarray) -> bool:
    return measures.kind(value) not in "fc" or bool(np.isfinite(measures.wide(value)).all())


def _nondeterministic(names: list[str], pairs: list[Pair]) -> list[str]:
    """Return the kinds of inputs on which one ulp changes the source too much. Depends on the source only."""
    peaks = {name: measures.typical_peak(name, pairs) for name in names}
    return [
        kind
        for kind in PERTURBED_ROUNDING
        if any(measures.sensitivity(n, pairs, kind, peaks[n]) > MAX_SENSITIVITY for n in names)
    ]


def _input_without_effect(names: list[str], pairs: list[Pair], tolerance: Tolerance) -> str:
    """Return an input that changes outputs but none by more than rounding, or "". Inputs that change no bit are unused."""
    if not tolerance.rounding:
        return ""
    largest_change: dict[str, float] = {}
    for name in names:
        for changed, share in measures.movement_by_input(name, pairs, measures.typical_peak(name, pairs, 1.0)):
            largest_change[changed] = max(largest_change.get(changed, 0.0), share)
    return next((name for name, share in largest_change.items() if 0 < share < MIN_EFFECT * tolerance.rounding), "")


def _reason_proven(
    errors: list[OutputError], tolerance: Tolerance, precision: str, compared: list[Pair], inputs: bool
) -> str:
    worst, least = _largest(e.range_error for e in errors), _smallest(e.equal for e in errors)
    message = "every value is equal" if not worst else f"the largest error is {worst:.2g} of the output's range"
    if tolerance.rounding and worst and worst > tolerance.rounding:
        message += f" (over {tolerance.rounding:.0e} only where rounding moves the source itself that far)"
    if least is not None and least < 1:
        message += f", and {least:.2%} of the integers are equal"
    if not inputs:
        return f"It takes no inputs; in {len(errors)} tensors {message} ({precision})."
    sizes = {tuple((p.sizes or {}).items()) for p in compared}
    scope = f", all at {_sizes(compared[0].sizes)}" if len(sizes) == 1 and compared[0].sizes else ""
    return f"On {len(compared)} sets of inputs{scope} {message} ({precision})."


def _not_judged(pairs: list[Pair], names: list[str]) -> list[dict[str, Any]]:
    """Return the cosine of each output on inputs that do not count for the verdict."""
    return [
        {"kind": p.kind, "name": name, "cosine": _finite_or_none(cosine(p.expected[name], p.ours[name]))}
        for p in pairs
        for name in names
        if p.ours is not None
        and name in p.ours
        and p.expected[name].shape == p.ours[name].shape
        and measures.kind(p.expected[name]) == "f"
    ]


def _finite_or_none(value: Any) -> Any:
    """Replace a non-finite float by None, as JSON has no infinity."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _largest(values: Any) -> float | None:
    return _finite_or_none(max((v for v in values if v is not None), default=None))


def _smallest(values: Any) -> float | None:
    return _finite_or_none(min((v for v in values if v is not None), default=None))


def _sizes(sizes: dict[str, int] | None) -> str:
    return ", ".join(f"{name} = {size}" for name, size in (sizes or {}).items())
