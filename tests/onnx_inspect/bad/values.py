"""Tensors whose values are not what they declare."""

from __future__ import annotations

import struct

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lib.onnx_model.wire import _encode, _tag
from tests.onnx_inspect.bad import ANSWERED, REFUSED, REPORTED, VALID, Made, bad
from tests.onnx_inspect.bad.external import model
from tests.onnx_inspect.bad.structure import chain, node

SHAPES = {
    "10^9 elements": [10**9],
    "10^9 elements in two": [10**5, 10**4],
    "2^62 elements": [1 << 62],
    "2^62 by 2^62 elements": [1 << 62, 1 << 62],
    "negative": [-4],
    "two negatives": [-2, -2],
    "lowest": [-(1 << 63)],
    "rank 100": [1] * 100,
    "rank 100 of 2^62": [1 << 62] * 100,
    "rank 100,000 of 2^62": [1 << 62] * 100_000,
    "zero by 2^62": [0, 1 << 62],
    "zero by 2^62 by 2^62": [1 << 62, 0, 1 << 62],
}
for name, dims in SHAPES.items():
    harmless = name.startswith(("zero", "rank 100 of 1"))

    @bad(ANSWERED if harmless or name == "rank 100" else REPORTED, "", f"initializer: {name}")
    def initializer(dims: list[int] = dims) -> Made:
        return model(TensorProto(name="w", data_type=1, dims=dims, raw_data=b"" if 0 in dims else b"1234"))

    @bad(ANSWERED, "", f"input: {name}")
    def as_input(dims: list[int] = dims) -> Made:
        plain = chain(node("Relu", "x", "y"))
        del plain.graph.input[0].type.tensor_type.shape.dim[:], plain.graph.output[0].type.tensor_type.shape.dim[:]
        for value in (plain.graph.input[0], plain.graph.output[0]):
            for dim in dims:
                value.type.tensor_type.shape.dim.add(dim_value=dim)
        return plain

    @bad(ANSWERED, "", f"matrices: {name}")
    def as_matrices(dims: list[int] = dims) -> Made:
        """For the cost formulas: every operator that has one, on two such inputs."""
        plain = as_input(dims)
        plain.graph.input.append(plain.graph.input[0])
        plain.graph.input[1].name = "w"
        del plain.graph.node[:]
        for k, op in enumerate(("MatMul", "Gemm", "Conv", "ConvTranspose", "Einsum", "LSTM", "Attention")):
            plain.graph.node.append(node(op, "x w w", f"o{k}", f"{op}{k}"))
            if op == "Einsum":
                plain.graph.node[-1].attribute.append(helper.make_attribute("equation", "ab,cd,ef->"))
            plain.graph.value_info.append(onnx.ValueInfoProto(name=f"o{k}", type=plain.graph.input[0].type))
        return plain


@bad(REPORTED, "it declares 1,000,000,000 elements and holds none")
def a_billion_elements_without_any_field() -> Made:
    return model(TensorProto(name="w", data_type=1, dims=[10**9]))


@bad(REPORTED, "there are 2,000", "raw data of half the size")
def half() -> Made:
    return model(TensorProto(name="w", data_type=1, dims=[1000], raw_data=bytes(2000)))


@bad(REPORTED, "", "float data of half the size")
def half_of_floats() -> Made:
    return model(TensorProto(name="w", data_type=1, dims=[1000], float_data=[1.0] * 500))


@bad(REPORTED, "", "float data, far too few and inline")
def few_floats() -> Made:
    return model(TensorProto(name="w", data_type=1, dims=[100], float_data=[1.0]))


@bad(REPORTED, "")
def values_in_a_field_of_another_type() -> Made:
    return model(TensorProto(name="w", data_type=TensorProto.INT64, dims=[1000], float_data=[1.0] * 1000))


for size in (4, 4000):

    @bad(REFUSED if size > 1000 else REPORTED, "twice" if size > 1000 else "", f"raw data and float data, {size}")
    def both(size: int = size) -> Made:
        return model(TensorProto(name="w", data_type=1, dims=[size], raw_data=bytes(4 * size), float_data=[1.0] * size))


@bad(REFUSED, "its values twice")
def raw_data_twice() -> Made:
    one = TensorProto(name="w", data_type=1, dims=[1000], raw_data=bytes(4000)).SerializeToString()
    data = one + _tag(9) + _encode(4000) + bytes(4000)
    return with_tensor(data)


def with_tensor(data: bytes) -> bytes:
    """The plain model with the initializer that ``data`` encodes."""
    plain = model()
    graph = plain.graph.SerializeToString() + _tag(5) + _encode(len(data)) + data
    plain.ClearField("graph")
    return plain.SerializeToString() + _tag(7) + _encode(len(graph)) + graph


@bad(VALID)
def floats_that_are_not_packed() -> Made:
    head = TensorProto(name="w", data_type=1, dims=[4]).SerializeToString()
    return with_tensor(head + b"".join(_encode(4 << 3 | 5) + struct.pack("<f", k) for k in range(4)))


@bad(REPORTED, "")
def a_million_floats_that_are_not_packed() -> Made:
    head = TensorProto(name="w", data_type=1, dims=[1000, 1000]).SerializeToString()
    return with_tensor(head + (_encode(4 << 3 | 5) + struct.pack("<f", 1)) * 1_000_000)


for kind in (0, 27, 99, -1, (1 << 31) - 1):

    @bad(REPORTED, "", f"dtype {kind}")
    def dtype(kind: int = kind) -> Made:
        return model(TensorProto(name="w", data_type=kind, dims=[4], raw_data=bytes(16)))

    @bad(ANSWERED, "", f"dtype {kind} of an input")
    def dtype_of_input(kind: int = kind) -> Made:
        plain = chain(node("Relu", "x", "y"))
        plain.graph.input[0].type.tensor_type.elem_type = kind
        return plain

    @bad(ANSWERED, "", f"dtype {kind}, 4 kB in an attribute")
    def dtype_of_constant(kind: int = kind) -> Made:
        held = TensorProto(name="w", data_type=kind, dims=[1000], raw_data=bytes(4000))
        return chain(helper.make_node("Constant", [], ["y"], value=held))


for kind in sorted(TensorProto.DataType.values())[1:]:

    @bad(ANSWERED, "", f"zeros of dtype {TensorProto.DataType.Name(kind)}")
    def every(kind: int = kind) -> Made:
        """4 kB of raw zeros: right for some types, too much or too little for others, nonsense for strings."""
        return model(TensorProto(name="w", data_type=kind, dims=[1000], raw_data=bytes(4000)))

    @bad(ANSWERED, "", f"four elements of dtype {TensorProto.DataType.Name(kind)} in four bytes")
    def small(kind: int = kind) -> Made:
        return model(TensorProto(name="w", data_type=kind, dims=[4], raw_data=b"\xff\x00\x80\x7f"))


@bad(ANSWERED)
def extreme_floats() -> Made:
    values = np.array([1.7e308, -1.7e308, np.nan, np.inf, -np.inf, 5e-324] * 50)
    return model(numpy_helper.from_array(values, "w"))


@bad(ANSWERED)
def strings_that_are_no_text() -> Made:
    return model(
        TensorProto(name="w", data_type=TensorProto.STRING, dims=[4], string_data=[b"\xff\xfe", b"", b"\x00", b"x"])
    )


@bad(ANSWERED)
def fewer_strings_than_declared() -> Made:
    return model(TensorProto(name="w", data_type=TensorProto.STRING, dims=[1000], string_data=[b"a"]))


@bad(ANSWERED)
def a_segment() -> Made:
    held = TensorProto(name="w", data_type=1, dims=[4], raw_data=bytes(16))
    held.segment.begin, held.segment.end = -5, 1 << 62
    return model(held)


@bad(ANSWERED)
def dropout_whose_mode_is_damaged() -> Made:
    plain = chain(node("Dropout", "x ratio mode", "y"))
    plain.graph.initializer.append(TensorProto(name="ratio", data_type=1, dims=[], float_data=[0.5]))
    plain.graph.initializer.append(TensorProto(name="mode", data_type=9, dims=[7], raw_data=b"\x01"))
    return plain


@bad(ANSWERED)
def damaged_twins() -> Made:
    """Look-alikes whose values cannot be read."""
    plain = model(TensorProto(name="w", data_type=1, dims=[100], float_data=[1.0]))
    plain.graph.initializer.append(TensorProto(name="v", data_type=1, dims=[100], float_data=[1.0]))
    return plain


@bad(ANSWERED)
def sparse_initializers_of_nonsense() -> Made:
    plain: ModelProto = model(helper.make_tensor("w", 1, [4], [1.0] * 4))
    for dims, values, indices in (([1 << 62], [3], [3, 9]), ([], [], []), ([4], [-1], [1]), ([-4], [1], [1])):
        sparse = plain.graph.sparse_initializer.add(dims=dims)
        sparse.values.CopyFrom(TensorProto(name=f"s{len(dims)}{dims}", data_type=1, dims=values, raw_data=b"1234"))
        sparse.indices.CopyFrom(TensorProto(data_type=7, dims=indices, raw_data=b"12345678"))
    return plain
