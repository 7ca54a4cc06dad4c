"""Statistics of one tensor against numpy, wherever its values lie and whatever their dtype."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lib.errors import InvalidFile, InvalidValue
from lib.onnx_inspect import weights
from lib.reports import values as reported
from tests.onnx_inspect.make import opened, parsed

RNG = np.random.default_rng(5)


def holding(tensor: TensorProto) -> ModelProto:
    return helper.make_model(helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [], [tensor]))


def of(values: np.ndarray, folder: Path) -> dict[str, Any]:
    return weights.statistics(opened(holding(numpy_helper.from_array(values, "w")), folder), "w")


def check(found: dict[str, Any], values: np.ndarray) -> None:
    json.dumps(found, allow_nan=False)
    wide = (np.abs(values) if values.dtype.kind == "c" else values).astype(np.float64).reshape(-1)
    finite = wide[np.isfinite(wide)]
    assert (found["count"], found["shape"]) == (values.size, list(values.shape))
    assert (found["zeros"], found["nan"], found["infinite"]) == (
        int((wide == 0).sum()),
        int(np.isnan(wide).sum()),
        int(np.isinf(wide).sum()),
    )
    assert found["sparsity"] == pytest.approx(found["zeros"] / max(1, values.size))
    assert found["values"] == [float(v) if np.isfinite(v) else str(v) for v in wide[: reported.SHOWN]]
    if not finite.size:
        assert "mean" not in found and "histogram" not in found
        return
    assert (found["minimum"], found["maximum"]) == (finite.min(), finite.max())
    assert found["mean"] == pytest.approx(finite.mean(), abs=1e-12)
    assert found["std"] == pytest.approx(finite.std(), rel=1e-9, abs=1e-12)
    if finite.min() < finite.max():
        counts, edges = np.histogram(finite, reported.BINS)
        assert found["histogram"]["counts"] == counts.tolist()
        np.testing.assert_allclose(found["histogram"]["edges"], edges)
    assert sum(found["histogram"]["counts"]) == finite.size and len(found["histogram"]["edges"]) == reported.BINS + 1


NORMAL = RNG.standard_normal((60, 70))
SPECIAL = np.where(RNG.random((60, 70)) < 0.1, np.nan, np.where(RNG.random((60, 70)) < 0.1, -np.inf, NORMAL))
ARRAYS: dict[str, np.ndarray] = {
    "float32": NORMAL.astype(np.float32),
    "float32, small": NORMAL[:3, :4].astype(np.float32),
    "float64": NORMAL,
    "float16": NORMAL.astype(np.float16),
    "bfloat16": NORMAL.astype(ml_dtypes.bfloat16),
    "bfloat16, small": NORMAL[:2, :3].astype(ml_dtypes.bfloat16),
    "float8": NORMAL.astype(ml_dtypes.float8_e5m2),
    "int4, odd": RNG.integers(-8, 8, 2101).astype(ml_dtypes.int4),
    "uint4, small": RNG.integers(0, 16, 7).astype(ml_dtypes.uint4),
    "int8": RNG.integers(-128, 128, (40, 50)).astype(np.int8),
    "int64": RNG.integers(-(2**40), 2**40, 900),
    "bool": RNG.random(3000) < 0.3,
    "complex64": (NORMAL + 1j * NORMAL[::-1]).astype(np.complex64),
    "not finite": SPECIAL.astype(np.float32),
    "not finite, float16": SPECIAL.astype(np.float16),
    "not finite, bfloat16": SPECIAL.astype(ml_dtypes.bfloat16),
    "nothing finite": np.full(9, np.nan, np.float32),
    "constant": np.full((500, 3), 0.25, np.float32),
    "zeros": np.zeros(4000, np.float32),
    "scalar": np.float32(3).reshape(()),
    "empty": np.zeros((0, 5), np.float32),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_statistics(case: str, tmp_path: Path) -> None:
    values = ARRAYS[case]
    found = of(values, tmp_path)
    check(found, values)
    assert found["dtype"] == values.dtype.name.replace("float8_e5m2", "float8e5m2")
    if "int4" not in case:
        assert found["bytes"] == values.nbytes


@pytest.mark.parametrize("case", ["float32", "float16", "bfloat16", "int4, odd", "not finite", "bool"])
def test_of_external_data(case: str, tmp_path: Path) -> None:
    onnx.save(
        holding(numpy_helper.from_array(ARRAYS[case], "w")),
        tmp_path / "saved.onnx", save_as_external_data=True, location="w.bin", size_threshold=0,
    )  # fmt: skip
    bare = onnx.load(tmp_path / "saved.onnx", load_external_data=False)
    assert bare.graph.initializer[0].data_location == TensorProto.EXTERNAL
    found = weights.statistics(opened(bare, tmp_path, {"w.bin": tmp_path / "w.bin"}), "w")
    check(found, ARRAYS[case])
    with pytest.raises(InvalidFile, match="in a file that was not uploaded"):
        weights.statistics(opened(bare, tmp_path), "w")


def test_pieces_give_the_same_as_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = of(ARRAYS["not finite"], tmp_path)
    monkeypatch.setattr(reported, "PIECE", 777)
    pieces = of(ARRAYS["not finite"], tmp_path)
    check(pieces, ARRAYS["not finite"])
    assert pieces["histogram"]["counts"] == whole["histogram"]["counts"]


def test_a_far_value_does_not_hide_the_others(tmp_path: Path) -> None:
    """Sums are taken in float64, around the mean."""
    values = (np.tile([-1, 1], 5000) + 1e6).astype(np.float32)
    assert of(values, tmp_path)["std"] == pytest.approx(1)


def test_values_in_other_fields_than_raw_data(tmp_path: Path) -> None:
    values = ARRAYS["float32"]
    found = weights.statistics(opened(holding(helper.make_tensor("w", 1, values.shape, values.reshape(-1))), tmp_path), "w")
    check(found, values)


def test_strings(tmp_path: Path) -> None:
    found = of(np.array([f"word {k}" for k in range(100)], object), tmp_path)
    assert found["values"] == [f"word {k}" for k in range(reported.SHOWN)] and found["dtype"] == "string"


def test_constants_and_sparse_tensors_have_names_too(tmp_path: Path) -> None:
    model = parsed("g () => (float[2] y) {c = Constant <value = float[2] {1, 2}> () y = Abs (c)}")
    values, places = numpy_helper.from_array(np.float32([5, 6]), "s"), numpy_helper.from_array(np.array([1, 7]), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [9]))
    found = opened(model, tmp_path)
    assert list(weights.named(found)) == ["s", "c"]
    assert weights.statistics(found, "c")["values"] == [1.0, 2.0] and weights.statistics(found, "s")["maximum"] == 6
    with pytest.raises(InvalidValue, match="one of the model's 2 initializers and constants"):
        weights.statistics(found, "y")


@pytest.mark.parametrize("dims", [[3], [1 << 40], [-2]])
def test_values_that_do_not_fill_the_shape(dims: list[int], tmp_path: Path) -> None:
    with pytest.raises(InvalidFile):
        weights.statistics(opened(holding(TensorProto(name="w", data_type=1, dims=dims, raw_data=b"\0" * 8)), tmp_path), "w")
