from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from lib import error_measures as measures

INF, NAN = np.inf, np.nan
LOW, HIGH = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        (bool, "b"),
        (np.int8, "i"),
        (np.uint64, "i"),
        (ml_dtypes.int4, "i"),
        (ml_dtypes.uint2, "i"),
        (np.float16, "f"),
        (ml_dtypes.bfloat16, "f"),
        (ml_dtypes.float8_e4m3fn, "f"),
        (ml_dtypes.float4_e2m1fn, "f"),
        (np.complex64, "c"),
        ("U3", "O"),
        ("S3", "O"),
        (object, "O"),
    ],
)
def test_kind(dtype: Any, kind: str) -> None:
    assert measures.kind(np.zeros((), dtype)) == kind


def test_widened_arrays_keep_their_shape_and_values() -> None:
    for dtype in (ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, ml_dtypes.int4, np.uint8, bool):
        for shape in ((), (0,), (2, 3)):
            found = measures.wide(np.ones(shape, dtype))
            assert found.dtype == np.float64 and found.shape == shape and (found == 1).all()
    value = np.complex64([[1 + 2j]])
    assert measures.wide(value).dtype == np.complex128
    assert measures.real(value).tolist() == [[[1.0, 2.0]]]
    same = np.zeros(2)
    assert measures.wide(same) is same  # no copy of a large array


@pytest.mark.parametrize(
    ("expected", "ours", "error"),
    [
        (np.float32([1, -2]), np.float32([1.5, 2]), [0.5, 4.0]),
        (np.float32([NAN, INF, -INF]), np.float32([NAN, INF, -INF]), [0, 0, 0]),
        (np.float32([NAN, 1, INF, INF, NAN]), np.float32([1, NAN, 1, -INF, INF]), [INF] * 5),
        (np.float64([1.7e308]), np.float64([-1.7e308]), [INF]),
        (np.float16([60000]), np.float16([-60000]), [120000]),  # beyond float16
        (np.int8([-128]), np.int8([127]), [255]),
        (np.uint8([0]), np.uint8([255]), [255]),
        (np.int64([LOW, HIGH, 2**53]), np.int64([HIGH, HIGH - 1, 2**53 + 1]), [2.0**64, 1, 1]),
        (np.uint64([2**64 - 1, 0]), np.uint64([2**64 - 2, 2**64 - 1]), [1, 2.0**64]),
        (np.int64([1]), np.int32([3]), [2]),
        (np.array([True, False]), np.array([False, False]), [1, 0]),
        (np.array([-8], ml_dtypes.int4), np.array([7], ml_dtypes.int4), [15]),
        (np.array([1.5], ml_dtypes.bfloat16), np.array([1], ml_dtypes.bfloat16), [0.5]),
        (np.array([448, NAN], ml_dtypes.float8_e4m3fn), np.array([-448, NAN], ml_dtypes.float8_e4m3fn), [896, 0]),
        (np.complex64([3 + 4j, complex(NAN, 1), complex(INF, 0)]), np.complex64([0, NAN, 1]), [5, 0, INF]),
        (np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3)).tolist()),
        (np.float32(1), np.float32(3), 2),
        (np.array(LOW), np.array(HIGH), 2.0**64),
        (np.array(NAN), np.array(1.0), INF),
    ],
)
def test_absolute_error(expected: np.ndarray, ours: np.ndarray, error: Any) -> None:
    for a, b in ((expected, ours), (ours, expected)):
        found = measures.absolute_error(a, b)
        assert found.dtype == np.float64 and found.tolist() == error


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.complex64])
def test_where_one_is_not_finite(dtype: Any) -> None:
    expected, ours = (np.array(v).astype(dtype) for v in ([1, NAN, NAN, INF, INF, INF], [2, NAN, 1, INF, -INF, NAN]))
    a, b = measures.wide(expected), measures.wide(ours)
    assert measures.one_not_finite(a, b).tolist() == [False, False, True, False, True, True]
    assert measures.both_finite(a, b).tolist() == [True] + [False] * 5
    assert measures.one_not_finite(np.array(NAN), np.array(1.0)).tolist() is True


def test_an_infinite_value_makes_no_room_for_an_error() -> None:
    expected, ours = np.float32([1, 100, INF, INF, NAN, 0]), np.float32([1.02, 101, INF, 1, 1, 0])
    error = measures.absolute_error(expected, ours)
    assert measures.close(error, expected, 0.01, 0.0).tolist() == [False, True, True, False, False, True]
    assert measures.close(error, expected, 0.0, 0.5).tolist() == [True, False, True, False, False, True]
    whole = np.int64([2**53]), np.int64([2**53 + 1])
    assert not measures.close(measures.absolute_error(*whole), whole[0], 0.0, 0.5).any()


@pytest.mark.parametrize(
    ("value", "peak", "spread"),
    [
        (np.float32([1, -3, NAN, -INF]), 3, 4),
        (np.float32([-2, -2]), 2, 2),  # equal: their peak
        (np.zeros(3), 0, 1),
        (np.float32([NAN, INF]), 0, 1),
        (np.zeros(0), 0, 1),
        (np.array(-5, np.int8), 5, 5),
        (np.array([0.5, 2], ml_dtypes.bfloat16), 2, 1.5),
        (np.complex64([3 + 4j]), 5, 1),
    ],
)
def test_peak_and_range(value: np.ndarray, peak: float, spread: float) -> None:
    assert (measures.peak(value), measures.value_range(value)) == (peak, spread)


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200, 5e-324])
def test_cosine_at_every_scale(scale: float) -> None:
    value = np.array([1.0, 2.0, 0.0]) * scale
    assert measures.cosine(value, value * 0.5 if scale > 1 else value) == pytest.approx(1)
    assert measures.cosine(value, -value) == pytest.approx(-1)
    assert measures.cosine(value, np.zeros(3)) == measures.cosine(np.zeros(3), value) == 0.0


def test_cosine() -> None:
    assert measures.cosine(np.float32([1, 0]), np.float32([1, 1])) == pytest.approx(2**-0.5)
    assert measures.cosine(np.float32([1, NAN, 1]), np.float32([1, 5, INF])) == 1.0  # over what is finite in both
    assert measures.cosine(np.complex64([1j]), np.complex64([1])) == 0.0
    assert measures.cosine(np.array(2, ml_dtypes.bfloat16), np.array(3, ml_dtypes.bfloat16)) == 1.0
    for nothing in (np.zeros(2), np.zeros(0), np.float32([NAN])):
        assert measures.cosine(nothing, nothing) is None


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_sqnr(scale: float) -> None:
    expected, ours = np.array([3.0, 4.0]) * scale, np.array([3.0, 4.5]) * scale
    assert measures.sqnr_db(expected, ours) == pytest.approx(20)  # 25 / 0.25
    assert measures.sqnr_db(np.append(expected, NAN), np.append(ours, NAN)) == pytest.approx(20)
    assert measures.sqnr_db(expected, expected) is None
    assert measures.sqnr_db(np.zeros(2), ours) is None
    assert measures.sqnr_db(np.zeros(0), np.zeros(0)) is None
