"""How far the outputs of two runtimes are apart, and whether that is more than rounding."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from lib.error_measures import absolute_error, both_finite, close, cosine, kind, peak, wide

FLOOR = 1e-7


def difference(name: str, ours: Any, expected: Any, rtol: float = 1e-3, atol: float = 1e-5) -> dict[str, Any]:
    """``max_abs``, ``max_rel`` (where expected is not 0), ``cosine``; agree: dtype, shape, |a-b| <= rtol·|b| + atol.

    ``atol`` in the answer is the given one times the largest |b|, so that the verdict does not depend on the
    output's scale, and 1e-7 at least: an exact 0 in one is rounding in the other.

    Integers and booleans must be equal; narrow floats may be four of their own rounding steps apart.
    """
    if isinstance(ours, dict) and isinstance(expected, dict):
        keys = list(ours)
        same = set(keys) == set(expected)
        pair = [np.array([one[k] for k in keys]) for one in (ours, expected)] if same else [np.zeros(0), None]
        return difference(name, pair[0], pair[1], rtol, atol)
    if not (isinstance(ours, np.ndarray) and isinstance(expected, np.ndarray)):
        same = isinstance(ours, list) and isinstance(expected, list) and len(ours) == len(expected)
        parts = [difference(name, a, b, rtol, atol) for a, b in zip(ours, expected, strict=True)] if same else []
        agree = (bool(same) and all(p["agree"] for p in parts)) or (ours is None and expected is None)
        return {"name": name, "agree": agree, "max_abs": max((p["max_abs"] or 0.0 for p in parts), default=None)}
    out = {"name": name, "agree": False, "max_abs": None, "max_rel": None, "cosine": None, "rtol": rtol, "atol": atol}
    # one runtime gives strings as objects, the other as numpy's own
    texts = kind(ours) == kind(expected) == "O"
    if ours.shape != expected.shape or (ours.dtype != expected.dtype and not texts):
        return out | {"why": f"{dtype_of(ours)} {list(ours.shape)} against {dtype_of(expected)} {list(expected.shape)}"}
    if texts:
        other = sum(_text(a) != _text(b) for a, b in zip(ours.reshape(-1), expected.reshape(-1), strict=True))
        why = {"why": f"{other:,} of {ours.size:,} strings differ"} if other else {}
        return out | {"agree": not other, "rtol": 0.0, "atol": 0.0} | why
    a, b = wide(ours), wide(expected)
    if kind(ours) in "ib":
        rtol, atol, error = 0.0, 0.0, absolute_error(expected, ours)
    else:
        rtol, error = max(rtol, 4 * float(ml_dtypes.finfo(ours.dtype).eps)), absolute_error(b, a)
    both = both_finite(b, a)
    odd = int((error[~both] > 0).sum())
    if not both.all():
        a, b, error = a[both], b[both], error[both]
    atol = max(atol * peak(b), FLOOR)
    with np.errstate(all="ignore"):
        size = np.abs(b)
        relative = np.divide(error, size, out=np.zeros_like(error), where=size > 0).max(initial=0.0)
    out |= {"rtol": rtol, "atol": number(atol), "agree": not odd and bool(close(error, b, rtol, atol).all())}
    out |= {"max_abs": number(error.max(initial=0.0)), "max_rel": number(relative), "cosine": cosine(b, a)}
    return out | ({"why": f"{odd} values are finite in one and not in the other"} if odd else {})


def dtype_of(value: np.ndarray) -> str:
    return "string" if kind(value) == "O" else value.dtype.name


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def number(value: Any) -> float | None:
    """JSON has no infinity; the difference of two huge numbers may be one."""
    return float(value) if np.isfinite(value) else None
