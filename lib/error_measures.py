"""Error measures between two arrays, shared by all comparisons. Needs only numpy.

Tolerances and verdicts belong to the callers. ``expected`` and ``ours`` have equal shapes and hold numbers or
booleans, with dtypes of numpy or ml_dtypes (bfloat16, float8, 4-bit). Everything is computed in float64 or complex128.
"""

from __future__ import annotations

import numpy as np


def kind(value: np.ndarray) -> str:
    """Returns the kind of dtype: ``b`` boolean, ``i`` (un)signed integer, ``f`` float, ``c`` complex, ``O`` text."""
    if value.dtype.isbuiltin == 2:  # a dtype of ml_dtypes
        return "i" if "int" in value.dtype.name else "f"
    return {"u": "i", "S": "O", "U": "O"}.get(value.dtype.kind, value.dtype.kind)


def wide(value: np.ndarray) -> np.ndarray:
    """Casts to float64 or complex128. Does not copy if the dtype already matches, so do not write to the result."""
    return value.astype(np.complex128 if value.dtype.kind == "c" else np.float64, copy=False)


def real(value: np.ndarray) -> np.ndarray:
    """Casts to float64. Complex numbers become (real, imaginary) pairs in an additional last axis."""
    value = wide(value)
    return np.stack([value.real, value.imag], -1) if value.dtype.kind == "c" else value


def both_finite(expected: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """Returns a boolean mask of the same shape: finite in both. Expects arrays from ``wide``."""
    return np.isfinite(expected) & np.isfinite(ours)


def finite(expected: np.ndarray, ours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns both as ``real``, flattened to [n], keeping only entries that are finite in both."""
    a, b = real(expected).reshape(-1), real(ours).reshape(-1)
    both = both_finite(a, b)
    return (a, b) if both.all() else (a[both], b[both])


def one_not_finite(expected: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """Returns a boolean mask of the same shape: NaN or infinite in one, but not equal in the other.

    Expects arrays from ``wide``.
    """
    out = np.asarray(~both_finite(expected, ours))
    out[out] = ~_same(expected[out], ours[out])
    return out


def absolute_error(expected: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """Returns |ours - expected| as float64 of the same shape.

    It is 0 where both are NaN or the same infinity, and infinite at all other entries with NaN or infinity.
    Integers of the same dtype are subtracted as integers, since float64 cannot represent e.g. 2⁵³ + 1, so the error is
    0 only where they are equal.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        if kind(expected) in "ib" and expected.dtype == ours.dtype:
            a, b = (v.astype(np.int64) if v.dtype.isbuiltin == 2 else v for v in (expected, ours))
            # the difference of two int64 fits uint64
            return (np.maximum(a, b).astype(np.uint64) - np.minimum(a, b).astype(np.uint64)).astype(np.float64)
        expected, ours = wide(expected), wide(ours)
        out = np.asarray(np.abs(ours - expected))
    not_finite = ~np.isfinite(out)
    out[not_finite] = np.where(_same(expected[not_finite], ours[not_finite]), 0.0, np.inf)
    return out


def close(error: np.ndarray, expected: np.ndarray, rtol: float, atol: float) -> np.ndarray:
    """Returns a boolean mask of the same shape: error <= atol + rtol·|expected|. Infinite errors are never close."""
    with np.errstate(invalid="ignore", over="ignore"):
        return (error == 0) | (np.isfinite(error) & (error <= atol + rtol * np.abs(wide(expected))))


def peak(value: np.ndarray) -> float:
    """Returns the largest finite |value|, 0 if there is none."""
    size = np.abs(wide(value))
    largest = float(size.max(initial=0.0))
    return largest if np.isfinite(largest) else float(size[np.isfinite(size)].max(initial=0.0))


def value_range(expected: np.ndarray) -> float:
    """Returns max - min of the finite values; ``peak`` if that is 0, and 1 if all values are 0."""
    flat = real(expected)
    flat = flat[np.isfinite(flat)]
    return (float(np.ptp(flat)) if flat.size else 0.0) or peak(flat) or 1.0


def cosine(expected: np.ndarray, ours: np.ndarray) -> float | None:
    """Returns the cosine similarity Σ expected·ours / (‖expected‖·‖ours‖) in [-1, 1], over entries finite in both.

    0 if exactly one of them is all zeros, None if both are.
    """
    a, b = finite(expected, ours)
    a, b = a / (peak(a) or 1.0), b / (peak(b) or 1.0)  # 1e200 squared would overflow
    norms = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if not any(norms):
        return None
    return float(np.clip(a @ b / (norms[0] * norms[1]), -1.0, 1.0)) if all(norms) else 0.0


def sqnr_db(expected: np.ndarray, ours: np.ndarray) -> float | None:
    """Returns the signal-to-quantization-noise ratio 10·log10(Σ expected² / Σ (ours - expected)²) in dB.

    None if the noise or the signal is zero.
    """
    a, b = finite(expected, ours)
    scale = max(peak(a), peak(b)) or 1.0
    a, b = a / scale, b / scale
    noise, signal = float(((b - a) ** 2).sum()), float((a**2).sum())
    return 10 * float(np.log10(signal / noise)) if noise > 0 and signal > 0 else None


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a == b) | (np.isnan(a) & np.isnan(b))
