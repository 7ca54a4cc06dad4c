"""How far two arrays are apart: the arithmetic of every comparison. numpy only; tolerances and verdicts are the callers'.

``expected`` and ``ours`` have equal shapes, and hold numbers or booleans of numpy's dtypes or of ml_dtypes (bfloat16,
float8, 4 bits). All is computed in float64 or complex128.
"""

from __future__ import annotations

import numpy as np


def kind(value: np.ndarray) -> str:
    """``b`` boolean, ``i`` integer with or without sign, ``f`` float, ``c`` complex, ``O`` text."""
    if value.dtype.isbuiltin == 2:  # of ml_dtypes
        return "i" if "int" in value.dtype.name else "f"
    return {"u": "i", "S": "O", "U": "O"}.get(value.dtype.kind, value.dtype.kind)


def wide(value: np.ndarray) -> np.ndarray:
    """float64 or complex128 of the same shape; the array itself where it is that already: not to be written to."""
    return value.astype(np.complex128 if value.dtype.kind == "c" else np.float64, copy=False)


def real(value: np.ndarray) -> np.ndarray:
    """float64 of the same shape; complex numbers as pairs in a last axis more."""
    value = wide(value)
    return np.stack([value.real, value.imag], -1) if value.dtype.kind == "c" else value


def both_finite(expected: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """bool of the same shape; of ``wide`` arrays."""
    return np.isfinite(expected) & np.isfinite(ours)


def finite(expected: np.ndarray, ours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as ``real``, [n], without what is not finite in one."""
    a, b = real(expected).reshape(-1), real(ours).reshape(-1)
    both = both_finite(a, b)
    return (a, b) if both.all() else (a[both], b[both])


def one_not_finite(expected: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """bool of the same shape: NaN or infinity in one and not the same in the other; of ``wide`` arrays."""
    out = np.asarray(~both_finite(expected, ours))
    out[out] = ~_same(expected[out], ours[out])
    return out


def absolute_error(expected: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """|ours - expected|, float64 of the same shape: 0 where both are NaN or the same infinity, infinite where only one is.

    Integers of one dtype are subtracted as such: an id of 2⁵³ + 1 is no float64. It is 0 only where both are equal.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        if kind(expected) in "ib" and expected.dtype == ours.dtype:
            a, b = (v.astype(np.int64) if v.dtype.isbuiltin == 2 else v for v in (expected, ours))
            # the difference of two int64 fits uint64
            return (np.maximum(a, b).astype(np.uint64) - np.minimum(a, b).astype(np.uint64)).astype(np.float64)
        expected, ours = wide(expected), wide(ours)
        out = np.asarray(np.abs(ours - expected))
    odd = ~np.isfinite(out)
    out[odd] = np.where(_same(expected[odd], ours[odd]), 0.0, np.inf)
    return out


def close(error: np.ndarray, expected: np.ndarray, rtol: float, atol: float) -> np.ndarray:
    """bool of the same shape: error <= atol + rtol·|expected|. An infinite ``expected`` makes no room for an error."""
    with np.errstate(invalid="ignore", over="ignore"):
        return (error == 0) | (np.isfinite(error) & (error <= atol + rtol * np.abs(wide(expected))))


def peak(value: np.ndarray) -> float:
    """The largest finite |value|; 0 where there is none."""
    size = np.abs(wide(value))
    most = float(size.max(initial=0.0))
    return most if np.isfinite(most) else float(size[np.isfinite(size)].max(initial=0.0))


def value_range(expected: np.ndarray) -> float:
    """The largest finite value minus the smallest; their ``peak`` where these are equal, 1 where all are 0."""
    flat = real(expected)
    flat = flat[np.isfinite(flat)]
    return (float(np.ptp(flat)) if flat.size else 0.0) or peak(flat) or 1.0


def cosine(expected: np.ndarray, ours: np.ndarray) -> float | None:
    """Σ expected·ours / (‖expected‖·‖ours‖), from -1 to 1, over what is finite in both.

    0 where only one of the two is nothing but zeros; None where both are.
    """
    a, b = finite(expected, ours)
    a, b = a / (peak(a) or 1.0), b / (peak(b) or 1.0)  # a square of 1e200 is infinite
    norms = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if not any(norms):
        return None
    return float(np.clip(a @ b / (norms[0] * norms[1]), -1.0, 1.0)) if all(norms) else 0.0


def sqnr_db(expected: np.ndarray, ours: np.ndarray) -> float | None:
    """10·log10(Σ expected² / Σ (ours - expected)²), in dB; None where there is no error or nothing expected."""
    a, b = finite(expected, ours)
    scale = max(peak(a), peak(b)) or 1.0
    a, b = a / scale, b / scale
    noise, signal = float(((b - a) ** 2).sum()), float((a**2).sum())
    return 10 * float(np.log10(signal / noise)) if noise > 0 and signal > 0 else None


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a == b) | (np.isnan(a) & np.isnan(b))
