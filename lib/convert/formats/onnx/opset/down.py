"""Downgrade steps to older opsets, one function per change of an operator (source: onnx/docs/Changelog.md).

``STEPS[operator, version]`` rewrites a node of that version for the previous one and may return several nodes.
Operators without a row changed only in element types, or in attributes whose defaults match the older behaviour
(``plain``). Raises Refused if there is no older equivalent. Longer than 300 lines because it is one table.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from lib.convert.formats.onnx.opset.graph import (
    Graph,
    Refused,
    attribute,
    constant_value,
    input_name,
    keep_inputs,
    set_attribute,
)

Step = Callable[[NodeProto, Graph], list[NodeProto]]
STEPS: dict[tuple[str, int], Step] = {}
REDUCING = "L1 L2 LogSum LogSumExp Max Mean Min Prod SumSquare".split()  # noqa: SIM905
REDEFINED = {"GroupNormalization", "Attention"}  # the meaning of their inputs changed: inlined as functions


def step(*changes: tuple[str, int]) -> Callable[[Step], Step]:
    """Registers the decorated function in ``STEPS`` for each (operator, version)."""

    def register(function: Step) -> Step:
        for change in changes:
            assert change not in STEPS, change
            STEPS[change] = function
        return function

    return register


def down(node: NodeProto, version: int, graph: Graph) -> list[NodeProto]:
    """Rewrites a node of operator version ``version`` as nodes of opset ``version - 1``. Raises Refused."""
    change = STEPS.get((node.op_type, version))
    nodes = change(node, graph) if change else [node]
    for rewritten in nodes:
        plain(rewritten, version)
    return nodes


def plain(node: NodeProto, version: int) -> None:
    """Removes attributes that the older version lacks, if they have no effect. Raises Refused if newer features are used."""
    try:
        older = onnx.defs.get_schema(node.op_type, version - 1, "")
    except onnx.defs.SchemaError:
        raise Refused(f"the operator is new in opset {version}") from None
    newer = onnx.defs.get_schema(node.op_type, version, "")
    for a in list(node.attribute):
        if a.name in older.attributes:
            continue
        value, schema_attribute = helper.get_attribute_value(a), newer.attributes.get(a.name)
        default = schema_attribute.default_value if schema_attribute is not None else None
        is_default = default is not None and default.type and helper.get_attribute_value(default) == value
        if not is_default and not (a.name == "dilations" and set(value) == {1}):
            raise Refused(f"its attribute {a.name} is new in opset {version}")
        set_attribute(node, a.name, None)
    while node.input and not node.input[-1]:
        del node.input[-1]
    if len(node.input) > older.max_input:
        raise Refused(f"its input {older.max_input + 1} is new in opset {version}")
    if len(node.output) > older.max_output:
        raise Refused(f"its output {older.max_output + 1} is new in opset {version}")


def _fixed(node: NodeProto, k: int, graph: Graph) -> np.ndarray | None:
    """Returns the constant value of input ``k``; None if it is omitted. Raises Refused if it is computed."""
    if not (name := input_name(node, k)):
        return None
    value = graph.constant(name)
    if value is None:
        raise Refused(f"its input {k + 1} is computed, but the older version takes a constant attribute")
    return value


def _ints(value: np.ndarray) -> list[int]:
    return [int(n) for n in value.reshape(-1)]


@step(*((f"Reduce{name}", 18) for name in REDUCING), ("ReduceSum", 13))
def _axes_of_a_reduction(node: NodeProto, graph: Graph) -> list[NodeProto]:
    axes = _fixed(node, 1, graph)
    keep_inputs(node, 1)
    noop_if_empty = attribute(node, "noop_with_empty_axes", 0)
    set_attribute(node, "noop_with_empty_axes", None)
    if axes is None or not axes.size:
        if noop_if_empty:
            if node.op_type not in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceMean", "ReduceProd"):
                raise Refused("it reduces no axis")
            return [helper.make_node("Identity", [node.input[0]], [node.output[0]], node.name)]
    else:
        set_attribute(node, "axes", _ints(axes))
    return [node]


@step(("Squeeze", 13), ("Unsqueeze", 13))
def _axes_of_a_squeeze(node: NodeProto, graph: Graph) -> list[NodeProto]:
    axes = _fixed(node, 1, graph)
    keep_inputs(node, 1)
    set_attribute(node, "axes", None if axes is None else _ints(axes))
    return [node]


@step(("Split", 18))
def _split_evenly(node: NodeProto, graph: Graph) -> list[NodeProto]:
    count, axis = attribute(node, "num_outputs"), attribute(node, "axis", 0)
    set_attribute(node, "num_outputs", None)
    dims = graph.dims(node.input[0])
    if count and dims and (size := dims[axis]) is not None and size % count:
        chunk = -(-size // count)  # rounded up; the last chunk is smaller
        sizes = np.array([min(chunk, size - chunk * k) for k in range(count)], np.int64)
        if (sizes < 0).any():
            raise Refused(f"{size} elements cannot be split into {count} parts")
        node.input.append(graph.add(sizes))
    return [node]


@step(("Split", 13))
def _split_sizes(node: NodeProto, graph: Graph) -> list[NodeProto]:
    sizes = _fixed(node, 1, graph)
    keep_inputs(node, 1)
    set_attribute(node, "split", None if sizes is None else _ints(sizes))
    return [node]


@step(("Softmax", 13), ("LogSoftmax", 13), ("Hardmax", 13))
def _along_one_axis(node: NodeProto, graph: Graph) -> list[NodeProto]:
    """Transposes ``axis`` to the end: older versions flatten all axes from ``axis`` on, so only the last axis agrees."""
    rank = graph.rank(node.input[0])
    axis = attribute(node, "axis", -1) % max(rank, 1)
    last = max(rank - 1, 0)
    set_attribute(node, "axis", last)
    if axis == last:
        return [node]
    permutation = list(range(rank))
    permutation[axis], permutation[last] = last, axis
    turned, result = graph.name("turned"), graph.name("done")
    value_type = graph.types.get(node.input[0])
    for name in (turned, result):
        if value_type is not None:
            graph.types[name] = value_type  # only its rank is used later, and that is right
    before = helper.make_node("Transpose", [node.input[0]], [turned], graph.name("turn"), perm=permutation)
    after = helper.make_node("Transpose", [result], [node.output[0]], graph.name("turn_back"), perm=permutation)
    node.input[0], node.output[0] = turned, result
    return [before, node, after]


@step(("Pad", 18))
def _pad_axes(node: NodeProto, graph: Graph) -> list[NodeProto]:
    axes = _fixed(node, 3, graph)
    if axes is not None:
        pads, rank = _fixed(node, 1, graph), graph.rank(node.input[0])
        assert pads is not None
        full = np.zeros((2, rank), np.int64)
        full[:, [a % rank for a in _ints(axes)]] = pads.reshape(2, -1)
        node.input[1] = graph.add(full.reshape(-1))
        keep_inputs(node, 3)
    return [node]


@step(("Pad", 19))
def _pad_mode(node: NodeProto, graph: Graph) -> list[NodeProto]:
    if attribute(node, "mode", b"constant") == b"wrap":
        raise Refused("the mode wrap is new in opset 19")
    return [node]


@step(("Pad", 11))
def _pad_attributes(node: NodeProto, graph: Graph) -> list[NodeProto]:
    pads, value = _fixed(node, 1, graph), _fixed(node, 2, graph)
    assert pads is not None
    set_attribute(node, "pads", _ints(pads))
    set_attribute(node, "value", None if value is None else float(value.reshape(-1)[0]))
    keep_inputs(node, 1)
    return [node]


@step(("Clip", 11))
def _clip_bounds(node: NodeProto, graph: Graph) -> list[NodeProto]:
    low, high = _fixed(node, 1, graph), _fixed(node, 2, graph)
    keep_inputs(node, 1)
    set_attribute(node, "min", None if low is None else float(low.reshape(-1)[0]))
    set_attribute(node, "max", None if high is None else float(high.reshape(-1)[0]))
    return [node]


@step(("Dropout", 12))
def _dropout(node: NodeProto, graph: Graph) -> list[NodeProto]:
    if len(node.output) > 1 and node.output[1]:
        raise Refused("its mask is all true without training only since opset 12")
    training, ratio = _fixed(node, 2, graph), _fixed(node, 1, graph)
    if training is not None and training.reshape(-1)[0]:
        raise Refused("it drops values at random")
    keep_inputs(node, 1)
    set_attribute(node, "seed", None)
    set_attribute(node, "ratio", None if ratio is None else float(ratio.reshape(-1)[0]))
    return [node]


@step(("Dropout", 10))
def _dropout_mask(node: NodeProto, graph: Graph) -> list[NodeProto]:
    if len(node.output) > 1 and node.output[1]:
        raise Refused("its mask was not boolean before opset 10")
    return [node]


@step(("BatchNormalization", 14))
def _batch_norm(node: NodeProto, graph: Graph) -> list[NodeProto]:
    if attribute(node, "training_mode", 0) or len(node.output) > 1:
        raise Refused("it is in training mode")
    set_attribute(node, "training_mode", None)
    return [node]


@step(("Slice", 10))
def _slice(node: NodeProto, graph: Graph) -> list[NodeProto]:
    starts, ends, axes, steps = (_fixed(node, k, graph) for k in (1, 2, 3, 4))
    if steps is not None and (steps != 1).any():
        raise Refused("steps other than 1 are new in opset 10")
    assert starts is not None and ends is not None
    keep_inputs(node, 1)
    set_attribute(node, "starts", _ints(starts))
    set_attribute(node, "ends", _ints(ends))
    set_attribute(node, "axes", None if axes is None else _positive(node, _ints(axes), graph))
    return [node]


@step(("TopK", 10))
def _top_k(node: NodeProto, graph: Graph) -> list[NodeProto]:
    count = _fixed(node, 1, graph)
    assert count is not None
    keep_inputs(node, 1)
    set_attribute(node, "k", int(count.reshape(-1)[0]))
    return [node]


@step(("Upsample", 9))
def _upsample(node: NodeProto, graph: Graph) -> list[NodeProto]:
    scales = _fixed(node, 1, graph)
    assert scales is not None
    keep_inputs(node, 1)
    set_attribute(node, "scales", [float(s) for s in scales])
    return [node]


@step(("Resize", 19))
def _resize_symmetric(node: NodeProto, graph: Graph) -> list[NodeProto]:
    if attribute(node, "coordinate_transformation_mode", b"half_pixel") == b"half_pixel_symmetric":
        raise Refused("half_pixel_symmetric is new in opset 19")
    return [node]


@step(("Resize", 13))
def _resize_inputs(node: NodeProto, graph: Graph) -> list[NodeProto]:
    """Fills omitted inputs with empty tensors: opset 11 requires all of them."""
    while len(node.input) < 3:
        node.input.append("")
    for k in (1, 2):
        if not node.input[k]:
            node.input[k] = graph.add(np.zeros(0, np.float32))
    return [node]


@step(("Resize", 11))
def _resize(node: NodeProto, graph: Graph) -> list[NodeProto]:
    mode, nearest = attribute(node, "mode", b"nearest"), attribute(node, "nearest_mode", b"round_prefer_floor")
    coordinates = attribute(node, "coordinate_transformation_mode", b"half_pixel")
    scales = graph.constant(input_name(node, 2))
    if coordinates != b"asymmetric" or (mode == b"nearest" and nearest != b"floor") or mode == b"cubic":
        raise Refused("before opset 11 coordinates were asymmetric and rounded down")
    if scales is None or not scales.size:
        raise Refused("before opset 11 only scales could be given, not sizes")
    name = node.input[2]
    keep_inputs(node, 1)
    node.input.append(name)
    for left_out in ("nearest_mode", "coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside"):
        set_attribute(node, left_out, None)
    set_attribute(node, "extrapolation_value", None)
    return [node]


@step(("Constant", 12))
def _constant(node: NodeProto, graph: Graph) -> list[NodeProto]:
    if any(a.name == "value" for a in node.attribute):
        return [node]
    value = constant_value(node)
    if value is None:
        raise Refused("before opset 12 it could only hold a dense tensor")
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(value)))
    return [node]


@step(("GridSample", 20))
def _grid_sample(node: NodeProto, graph: Graph) -> list[NodeProto]:
    if graph.rank(node.input[0]) != 4:
        raise Refused("only 4-D inputs could be sampled before opset 20")
    old_modes = {b"linear": "bilinear", b"cubic": "bicubic", b"nearest": "nearest"}
    set_attribute(node, "mode", old_modes[attribute(node, "mode", b"linear")])
    return [node]


@step(("RoiAlign", 16))
def _roi_align(node: NodeProto, graph: Graph) -> list[NodeProto]:
    if attribute(node, "coordinate_transformation_mode", b"half_pixel") != b"output_half_pixel":
        raise Refused("before opset 16 only output_half_pixel was supported")
    set_attribute(node, "coordinate_transformation_mode", None)
    return [node]


@step(("DFT", 20))
def _dft(node: NodeProto, graph: Graph) -> list[NodeProto]:
    axis = _fixed(node, 2, graph)
    axis_number = -2 if axis is None else int(axis.reshape(-1)[0])
    keep_inputs(node, 2)
    set_attribute(node, "axis", axis_number if axis_number >= 0 else axis_number + graph.rank(node.input[0]))
    return [node]


@step(("Shape", 15))
def _shape(node: NodeProto, graph: Graph) -> list[NodeProto]:
    start, end = attribute(node, "start", 0), attribute(node, "end")
    set_attribute(node, "start", None)
    set_attribute(node, "end", None)
    if not start and end is None:
        return [node]
    full_shape, output = graph.name("shape"), node.output[0]
    node.output[0] = full_shape
    bounds = [graph.add(np.array([n], np.int64)) for n in (start, 2**62 if end is None else end, 0)]
    return [node, helper.make_node("Slice", [full_shape, *bounds], [output], graph.name("part"))]


@step(("Reshape", 14))
def _reshape(node: NodeProto, graph: Graph) -> list[NodeProto]:
    if attribute(node, "allowzero", 0):
        shape = _fixed(node, 1, graph)
        if shape is None or (shape == 0).any():
            raise Refused("before opset 14 a 0 in the shape meant the size of the input")
    set_attribute(node, "allowzero", None)
    return [node]


@step(("Gemm", 11))
def _gemm(node: NodeProto, graph: Graph) -> list[NodeProto]:
    if not input_name(node, 2):
        value_type = graph.types.get(node.input[0])
        if value_type is None:
            raise Refused("its dtype is unknown")
        keep_inputs(node, 2)
        node.input.append(graph.add(np.zeros(1, helper.tensor_dtype_to_np_dtype(value_type.tensor_type.elem_type))))
    return [node]


@step(*((name, version) for name in ("QuantizeLinear", "DequantizeLinear") for version in (21, 23)))
def _quantised_dtype(node: NodeProto, graph: Graph) -> list[NodeProto]:
    """Drops ``output_dtype`` of QuantizeLinear if a zero point implies it."""
    if node.op_type == "QuantizeLinear" and input_name(node, 2):
        set_attribute(node, "output_dtype", None)
    return [node]


@step(("QuantizeLinear", 13), ("DequantizeLinear", 13))
def _per_tensor(node: NodeProto, graph: Graph) -> list[NodeProto]:
    if graph.rank(node.input[1]) != 0:
        raise Refused("scales per channel are new in opset 13")
    set_attribute(node, "axis", None)
    return [node]


@step(("Mod", 28))
def _mod(node: NodeProto, graph: Graph) -> list[NodeProto]:
    value_type = graph.types.get(node.input[0])
    floats = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}
    if not attribute(node, "fmod", 0) and (value_type is None or value_type.tensor_type.elem_type in floats):
        raise Refused("before opset 28 only integer results had the divisor's sign")
    return [node]


@step(("Scan", 9))
def _scan(node: NodeProto, graph: Graph) -> list[NodeProto]:
    raise Refused("Scan had a batch dimension before opset 9")


@step(*((name, 8) for name in ("Max", "Min", "Mean", "Sum")))
def _no_broadcast(node: NodeProto, graph: Graph) -> list[NodeProto]:
    shapes = [tuple(graph.dims(name)) for name in node.input]
    if len(set(shapes)) != 1 or (len(shapes) > 1 and (not shapes[0] or None in shapes[0])):
        raise Refused("before opset 8 its inputs had to have the same shape")
    return [node]


def _positive(node: NodeProto, axes: list[int], graph: Graph) -> list[int]:
    if all(a >= 0 for a in axes):
        return axes
    rank = graph.rank(node.input[0]) + (len(axes) if node.op_type == "Unsqueeze" else 0)
    return [a % rank for a in axes]


AXES = """ArgMax ArgMin Concat Compress Flatten Gather OneHot ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Softmax LogSoftmax Hardmax Split Squeeze Unsqueeze TopK"""


@step(*((name, 11) for name in AXES.split()))
def _negative_axes(node: NodeProto, graph: Graph) -> list[NodeProto]:
    """Makes negative axes positive: they are new in opset 11."""
    for a in node.attribute:
        if a.name == "axis" and a.i < 0:
            if node.op_type == "OneHot":
                a.i = -1 if a.i == -1 else a.i % (graph.rank(node.input[0]) + 1)  # OneHot already allowed -1
            else:
                a.i = _positive(node, [a.i], graph)[0]
        elif a.name == "axes":
            a.ints[:] = _positive(node, list(a.ints), graph)
    return [node]
