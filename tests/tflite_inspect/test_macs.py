"""MACs by hand for every operator that is counted; what cannot be counted says why."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import pytest

from lib.tflite_inspect import macs
from lib.tflite_inspect.summary import report
from tests.tflite_inspect.make import Op, Tensor, weight, write

CONV = {"padding": 0, "strideH": 2, "strideW": 2, "dilationWFactor": 1, "dilationHFactor": 1}
# operator -> tensors (the first is the input, the last the output), options, and the products by hand
CASES = {
    # 4 x 4 places of the output, 5 channels, a 3 x 3 kernel over 2 channels
    "CONV_2D": (
        [Tensor("x", [1, 8, 8, 2]), weight("w", [5, 3, 3, 2]), weight("b", [5]), Tensor("y", [1, 4, 4, 5])],
        ("Conv2DOptions", CONV),
        4 * 4 * 5 * 3 * 3 * 2,
    ),
    "DEPTHWISE_CONV_2D": (
        [Tensor("x", [1, 8, 8, 2]), weight("w", [1, 3, 3, 4]), weight("b", [4]), Tensor("y", [1, 4, 4, 4])],
        ("DepthwiseConv2DOptions", CONV | {"depthMultiplier": 2}),
        4 * 4 * 4 * 3 * 3,
    ),
    "FULLY_CONNECTED": (
        [Tensor("x", [3, 7]), weight("w", [5, 7]), weight("b", [5]), Tensor("y", [3, 5])],
        ("FullyConnectedOptions", {}),
        3 * 5 * 7,
    ),
    "BATCH_MATMUL": (
        [Tensor("x", [2, 3, 7]), weight("w", [2, 7, 5]), Tensor("y", [2, 3, 5])],
        ("BatchMatMulOptions", {}),
        2 * 3 * 5 * 7,
    ),
    # each of 4 x 4 x 2 elements goes through a 2 x 2 kernel into 3 channels
    "TRANSPOSE_CONV": (
        [
            Tensor("shape", [4], "int32", np.array([1, 8, 8, 3], np.int32)),
            weight("w", [3, 2, 2, 2]),
            Tensor("x", [1, 4, 4, 2]),
            Tensor("y", [1, 8, 8, 3]),
        ],
        ("TransposeConvOptions", {"padding": 1, "strideH": 2, "strideW": 2}),
        4 * 4 * 2 * 2 * 2 * 3,
    ),
    "SOFTMAX": ([Tensor("x", [1, 9]), Tensor("y", [1, 9])], ("SoftmaxOptions", {"beta": 1.0}), 0),
}


@pytest.mark.parametrize("name", CASES)
def test_by_hand(name: str, tmp_path: Path) -> None:
    tensors, (kind, options), expected = CASES[name]
    inputs = [k for k, t in enumerate(tensors[:-1]) if t.data is None]
    op = Op(name, list(range(len(tensors) - 1)), [len(tensors) - 1], kind, options)
    found = report(write(tmp_path / "m.tflite", tensors, [op], inputs, [len(tensors) - 1]), "m.tflite", {})
    assert found["valid"], found["problems"]
    assert found["macs"] == expected and found["nodes"][0]["macs"] == expected and found["not_counted"] == []
    assert found["macs_by_operator"] == ({name: expected} if expected else {})


@pytest.mark.parametrize("shape", [(2, 3), (1, 4, 5)])
def test_a_product_taken_transposed(shape: tuple[int, ...]) -> None:
    """The shared dimension is the one that the output has not."""
    *batch, rows, shared = shape
    output = (*batch, rows, 6)
    for x in ((*batch, rows, shared), (*batch, shared, rows)):
        assert macs.FORMULAS["BATCH_MATMUL"]([x, None], output) == prod(output) * shared


def test_a_recurrent_network() -> None:
    x, inner, recurrent = (1, 10, 6), (8, 6), (8, 8)
    inputs = [x, *[inner] * 4, *[recurrent] * 4]
    assert macs.FORMULAS["UNIDIRECTIONAL_SEQUENCE_LSTM"](inputs, (1, 10, 8)) == 10 * 4 * (8 * 6 + 8 * 8)
    assert macs.FORMULAS["UNIDIRECTIONAL_SEQUENCE_RNN"]([x, inner, recurrent], (1, 10, 8)) == 10 * (8 * 6 + 8 * 8)


def test_a_custom_operator_is_not_taken_for_nothing(tmp_path: Path) -> None:
    tensors = [Tensor("x", [1, 4]), weight("w", [3, 4]), Tensor("h", [1, 3]), Tensor("y", [1, 3])]
    ops = [Op("FULLY_CONNECTED", [0, 1, -1], [2], "FullyConnectedOptions"), Op("Mystery", [2], [3], custom=True)]
    found = report(write(tmp_path / "m.tflite", tensors, ops, [0], [3]), "m.tflite", {})
    assert found["macs"] == 12 and found["nodes"][1]["macs"] is None
    assert [(g["operator"], g["nodes"]) for g in found["not_counted"]] == [("Mystery", 1)]
    assert not found["valid"] and found["problems"][0]["rule"] == "litert"  # LiteRT has no such operator
    assert any(p["rule"] == "custom-operator" and p["where"] == "Mystery_1" for p in found["problems"])


def test_the_body_of_a_loop_runs_an_unknown_number_of_times(tmp_path: Path) -> None:
    body = (
        [Tensor("v", [1, 4]), weight("w", [4, 4]), Tensor("n", [1, 4])],
        [Op("FULLY_CONNECTED", [0, 1, -1], [2], "FullyConnectedOptions")],
        [0],
        [2],
    )
    limit = Tensor("limit", [], "float32", np.float32(100))
    condition = (
        [Tensor("v", [1, 4]), Tensor("axes", [2], "int32", np.array([0, 1], np.int32)), Tensor("m", []), limit,
         Tensor("go", [], "bool")],
        [Op("REDUCE_MAX", [0, 1], [2], "ReducerOptions", {"keepDims": False}), Op("LESS", [2, 3], [4], "LessOptions")],
        [0],
        [4],
    )  # fmt: skip
    loop = Op("WHILE", [0], [1], "WhileOptions", {"condSubgraphIndex": 1, "bodySubgraphIndex": 2})
    main = [Tensor("x", [1, 4]), Tensor("y", [1, 4])]
    found = report(write(tmp_path / "m.tflite", main, [loop], [0], [1], condition, body), "m.tflite", {})
    assert found["macs"] == 0 and "16 MACs per pass" in found["not_counted"][0]["reason"]
    assert found["operators"] == {"WHILE": 1, "REDUCE_MAX": 1, "LESS": 1, "FULLY_CONNECTED": 1}
    assert {n["scope"] for n in found["nodes"]} == {"", "graph 1/", "graph 2/"}


def test_graphs_that_run_each_other_end(tmp_path: Path) -> None:
    ends = [Tensor("x", [1]), Tensor("y", [1])]
    call = [Op("CALL", [0], [1], "CallOptions", {"subgraph": 1})]
    back = [Op("CALL", [0], [1], "CallOptions", {"subgraph": 0})]
    path = write(tmp_path / "m.tflite", ends, call, [0], [1], (ends, back, [0], [1]))
    from lib.tflite import file as tflite_file
    from lib.tflite_inspect.graph import declared

    model = tflite_file.read(path)
    found = macs.Passes(model, lambda k: declared(model, k)).of(0)
    assert found.macs == 0 and "call each other endlessly" in str(found.not_counted)
