"""Opening without trust and without weights: the skeleton, the payloads it points to, external data."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lib.errors import InvalidFile
from lib.onnx_inspect.examples import EXAMPLES
from lib.onnx_model import wire
from lib.onnx_model.magic import MAGIC
from lib.onnx_model.open import byte_size, dtype_name, open_model, tensors
from tests.onnx_inspect.make import opened, parsed

RNG = np.random.default_rng(0)


def holding(*weights: TensorProto, nodes: list[onnx.NodeProto] | None = None) -> ModelProto:
    nodes = nodes or [helper.make_node("Identity", [weights[0].name], ["y"])]
    graph = helper.make_graph(nodes, "g", [], [], list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)])


def external(tensor: TensorProto, **entries: object) -> TensorProto:
    out = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    out.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        out.external_data.add(key=key, value=str(value))
    return out


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_opens_as_it_was_saved(name: str, tmp_path: Path) -> None:
    """Everything but the payloads is the same, and the payloads are where the skeleton says."""
    saved = EXAMPLES[name]()
    model = opened(saved, tmp_path)
    assert model.size == saved.ByteSize() and not model.missing
    pairs = list(zip(tensors(saved), tensors(model.proto), strict=True))
    assert all(a == b for (a, _), (b, _) in pairs)
    for (_, full), (_, bare) in pairs:
        np.testing.assert_array_equal(model.array(bare), numpy_helper.to_array(full))
        full.CopyFrom(bare)
    assert saved == model.proto


FIELDS = {
    "raw_data": numpy_helper.from_array(RNG.standard_normal((50, 60)).astype(np.float32), "w"),
    "float_data": helper.make_tensor("w", TensorProto.FLOAT, [1000], RNG.standard_normal(1000)),
    "double_data": helper.make_tensor("w", TensorProto.DOUBLE, [10, 100], RNG.standard_normal(1000)),
    "int64_data": helper.make_tensor("w", TensorProto.INT64, [2000], RNG.integers(-(2**62), 2**62, 2000)),
    "int32_data": helper.make_tensor("w", TensorProto.INT8, [2000], RNG.integers(-128, 127, 2000)),
    "uint64_data": helper.make_tensor("w", TensorProto.UINT64, [2000], RNG.integers(0, 2**62, 2000)),
    "float16 in int32_data": helper.make_tensor("w", TensorProto.FLOAT16, [2000], RNG.standard_normal(2000)),
    "complex in float_data": helper.make_tensor("w", TensorProto.COMPLEX64, [500], RNG.standard_normal(500) + 1j),
    "bool": numpy_helper.from_array(RNG.integers(0, 2, (2000,)).astype(bool), "w"),
    "bfloat16": numpy_helper.from_array(RNG.standard_normal(2000).astype(ml_dtypes.bfloat16), "w"),
    "int4, odd": numpy_helper.from_array(RNG.integers(-8, 8, 4001).astype(ml_dtypes.int4), "w"),
    "float8": numpy_helper.from_array(RNG.standard_normal(2000).astype(ml_dtypes.float8_e4m3fn), "w"),
    "string_data": helper.make_tensor("w", TensorProto.STRING, [300], [b"word %d" % k for k in range(300)]),
    "small": numpy_helper.from_array(np.float32([1, 2]), "w"),
    "empty": numpy_helper.from_array(np.zeros((0, 3), np.float32), "w"),
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_payload_is_left_out_and_found_again(field: str, tmp_path: Path) -> None:
    tensor = FIELDS[field]
    model = opened(holding(tensor), tmp_path)
    (bare,) = model.proto.graph.initializer
    inline = field in ("small", "empty", "string_data")
    assert (model.payload(bare) is None) == inline and (bare.ByteSize() < 300 or field == "string_data")
    expected = numpy_helper.to_array(tensor)
    np.testing.assert_array_equal(model.array(bare), expected)
    assert model.array(bare).dtype == expected.dtype


def test_payloads_anywhere(tmp_path: Path) -> None:
    """In a Constant, a subgraph, a function and a sparse tensor, and each found by ``tensors``."""

    def big(name: str) -> TensorProto:
        return numpy_helper.from_array(RNG.standard_normal(1000).astype(np.float32), name)

    inner = helper.make_graph([helper.make_node("Identity", ["b"], ["p"])], "inner", [], [], [big("b")])
    inner.output.append(helper.make_tensor_value_info("p", TensorProto.FLOAT, [1000]))
    nodes = [
        helper.make_node("Constant", [], ["k"], "constant", value=big("")),
        helper.make_node("If", ["c"], ["y"], "branch", then_branch=inner, else_branch=inner),
    ]
    model = holding(big("w"), nodes=nodes)
    indices = numpy_helper.from_array(np.arange(1000), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(big("sparse"), indices, [5000]))
    body = [helper.make_node("Constant", [], ["o"], value=big(""))]
    model.functions.append(helper.make_function("local", "f", [], ["o"], body, [helper.make_opsetid("", 23)]))
    found = opened(model, tmp_path)
    expected = dict(tensors(model))
    assert len(found.proto.SerializeToString()) < 2000 and len(expected) == 7
    for where, tensor in tensors(found.proto):
        assert found.payload(tensor) is not None, where
        np.testing.assert_array_equal(found.array(tensor), numpy_helper.to_array(expected[where]))


def test_the_skeleton_costs_no_memory_for_weights(tmp_path: Path) -> None:
    path = tmp_path / "big.onnx"
    path.write_bytes(holding(numpy_helper.from_array(np.zeros(32 << 20, np.uint8), "w")).SerializeToString())
    tracemalloc.start()
    try:
        open_model(path, {})
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_fields_that_nobody_knows_are_copied_as_they_are(tmp_path: Path) -> None:
    data, unknown = parsed("g (float[2] x) => (float[2] y) {y = Relu (x)}").SerializeToString(), b"\xfa\x3e\x03abc"
    (tmp_path / "m.onnx").write_bytes(data + unknown)
    assert wire.skeleton(tmp_path / "m.onnx") == data + unknown
    assert open_model(tmp_path / "m.onnx", {}).proto.graph.name == "g"


# ---- external data


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(np.arange(100, dtype=np.float32).tobytes())
    return path


def test_external_data(weights: Path, tmp_path: Path) -> None:
    w = numpy_helper.from_array(np.zeros((5, 4), np.float32), "w")
    proto = holding(external(w, location="weights.bin", offset=80, length=80))
    model = opened(proto, tmp_path / "m", {"weights.bin": weights})
    np.testing.assert_array_equal(
        model.array(model.proto.graph.initializer[0]), np.arange(20, 40, dtype=np.float32).reshape(5, 4)
    )
    assert model.size == proto.ByteSize() + 400


def test_external_data_to_the_end_of_the_file(weights: Path, tmp_path: Path) -> None:
    w = numpy_helper.from_array(np.zeros(75, np.float32), "w")
    model = opened(holding(external(w, location="weights.bin", offset=100)), tmp_path / "m", {"weights.bin": weights})
    assert model.array(model.proto.graph.initializer[0]).tolist() == list(range(25, 100))


def test_external_data_that_were_not_uploaded(tmp_path: Path) -> None:
    w = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    model = opened(holding(external(w, location="weights.bin")), tmp_path)
    assert model.missing == {"initializer 'w'": "its values are in 'weights.bin', which was not uploaded"}
    with pytest.raises(InvalidFile, match="not uploaded"):
        model.array(model.proto.graph.initializer[0])


ESCAPES = [
    "/etc/passwd",
    "../weights.bin",
    "a/b",
    "..",
    ".",
    "",
    "a\\b",
    "c:d",
    "a\0b",
    f"{wire.MARK[:7]}0-9/../x",
    "x" * 300,
]


@pytest.mark.parametrize("location", ESCAPES)
@pytest.mark.parametrize("declared", [True, False], ids=["EXTERNAL", "not declared"])
def test_external_data_elsewhere_are_refused(location: str, declared: bool, tmp_path: Path) -> None:
    tensor = external(numpy_helper.from_array(np.zeros(4, np.float32), "w"), location=location)
    if not declared:
        tensor.ClearField("data_location")
    with pytest.raises(InvalidFile, match="Only the plain name of a file uploaded beside the model"):
        opened(holding(tensor), tmp_path)


BEYOND = [
    {"offset": 401},
    {"offset": 396, "length": 8},
    {"offset": -4},
    {"length": -1},
    {"length": 1 << 62},
    {"offset": "ten"},
]


@pytest.mark.parametrize("entries", BEYOND, ids=str)
def test_external_data_outside_their_file_are_refused(entries: dict[str, object], weights: Path, tmp_path: Path) -> None:
    tensor = external(numpy_helper.from_array(np.zeros(4, np.float32), "w"), location="weights.bin", **entries)
    with pytest.raises(InvalidFile, match="initializer 'w': "):
        opened(holding(tensor), tmp_path / "m", {"weights.bin": weights})


def test_two_locations_are_refused(weights: Path, tmp_path: Path) -> None:
    tensor = external(numpy_helper.from_array(np.zeros(4, np.float32), "w"), location="weights.bin")
    tensor.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(InvalidFile, match="2 locations; exactly one"):
        opened(holding(tensor), tmp_path / "m", {"weights.bin": weights})


def test_an_upload_cannot_claim_a_place_in_the_skeleton(tmp_path: Path) -> None:
    """The mark is random and new in every process; one that was guessed from another process is an ordinary name."""
    tensor = external(numpy_helper.from_array(np.zeros(4, np.float32), "w"), location="inline-0123456789abcdef-9", length=16)
    assert list(opened(holding(tensor), tmp_path).missing) == ["initializer 'w'"]


# ---- what is none


@pytest.mark.parametrize(("offset", "magic", "what"), [row[:3] for row in MAGIC])
def test_other_files_are_recognised(offset: int, magic: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "upload.onnx"
    path.write_bytes(b"\x08" * offset + magic + b"\0" * 100)
    with pytest.raises(InvalidFile, match="not an ONNX model"):
        open_model(path, {})


@pytest.mark.parametrize("name", ["linear", "digits"])
def test_every_cut_is_refused_or_a_whole_message(name: str, tmp_path: Path) -> None:
    data, path = EXAMPLES[name]().SerializeToString(), tmp_path / "cut.onnx"
    refused = 0
    for end in range(0, len(data), max(1, len(data) // 200)):
        path.write_bytes(data[:end])
        try:
            open_model(path, {})
        except InvalidFile:
            refused += 1
    assert refused > 150


@pytest.mark.parametrize(
    ("data_type", "name", "dims", "size"),
    [
        (TensorProto.FLOAT, "float32", [2, 3], 24),
        (TensorProto.DOUBLE, "float64", [], 8),
        (TensorProto.BOOL, "bool", [3], 3),
        (TensorProto.INT4, "int4", [3], 2),
        (TensorProto.UINT2, "uint2", [5], 2),
        (TensorProto.FLOAT4E2M1, "float4e2m1", [4], 2),
        (TensorProto.FLOAT8E8M0, "float8e8m0", [4], 4),
        (TensorProto.BFLOAT16, "bfloat16", [4], 8),
        (TensorProto.COMPLEX128, "complex128", [2], 32),
        (TensorProto.FLOAT, "float32", [3, 0], 0),
        (TensorProto.FLOAT, "float32", [-3], 0),
        (99, "type 99", [4], 0),
    ],
)
def test_sizes_by_declaration(data_type: int, name: str, dims: list[int], size: int) -> None:
    assert dtype_name(data_type) == name and byte_size(TensorProto(data_type=data_type, dims=dims)) == size
