"""Small models with the symptoms of public reports, each of a few operators. All are made here, and deterministic.

A builder writes one model into a folder and returns its path; ``samples.npz`` beside it are inputs of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
from onnx import ModelProto, TensorProto, helper, numpy_helper

RNG = np.random.default_rng


def graph(text: str, opset: int = 17, **weights: Any) -> ModelProto:
    """ONNX's own text form, with weights as initializers."""
    made = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]>\n{text}')
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), n) for n, v in weights.items())
    return made


def saved(model: ModelProto, folder: Path) -> Path:
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return (RNG(seed).standard_normal(shape) * scale).astype(np.float32)


def longs(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


# -- slimming ------------------------------------------------------------------------------------------------------------


def equal_constants(folder: Path) -> Path:
    """2 and 4 of one shape, 2 of two shapes, 0.0 and 0 of the same four bytes: only equal ones may be merged."""
    text = """g (float[batch,4] x, float[batch,4] z) => (float[batch,4] y, float[batch] w) {
        a = Div (x, two)  b = Mul (z, four)  c = Add (a, b)  d = Mul (c, one_two)  y = Sub (d, nought)
        w = Gather <axis = 1> (y, first) }"""
    held = {"two": np.float32(2), "four": np.float32(4), "one_two": np.float32([2]), "nought": np.float32(0)}
    return saved(graph(text, **held, first=np.int32(0)), folder)


def slices_of_slices(folder: Path) -> Path:
    """Two slices of one axis, a third with a negative start, a fourth backwards."""
    text = """g (float[batch,12,6] x) => (float[batch,p,q] y) {
        a = Slice (x, s1, e1, ax1)  b = Slice (a, s2, e2, ax1)  c = Slice (b, s3, e3, ax2)
        y = Slice (c, s4, e4, ax2, back) }"""
    held = {"s1": longs(1), "e1": longs(11), "s2": longs(2), "e2": longs(-1), "ax1": longs(1), "ax2": longs(2)}
    held |= {"s3": longs(-4), "e3": longs(2**31), "s4": longs(-1), "e4": longs(-10), "back": longs(-1)}
    return saved(graph(text, **held), folder)


def part_of_a_shape(folder: Path) -> Path:
    """Shape with ``start`` and ``end``: two of four sizes say what is cut."""
    text = """g (float[batch,3,9,8] x, float[batch,3,5,4] like) => (float[batch,3,5,4] y) {
        s = Shape <start = 2, end = 4> (like)  y = Slice (x, zeros, s, axes) }"""
    return saved(graph(text, zeros=longs(0, 0), axes=longs(2, 3)), folder)


# -- opsets --------------------------------------------------------------------------------------------------------------


def clip_in_a_branch(folder: Path) -> Path:
    """Clip of opset 10 has its limits as attributes; here it stands in both branches of an If."""
    made = graph("g (float[batch,4] x, bool c) => (float[batch,4] y) { }", 10)
    bodies = {}
    for name, low in (("then_branch", -0.5), ("else_branch", 0.2)):
        out = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)
        node = helper.make_node("Clip", ["x"], [out.name], min=low, max=0.7)
        bodies[name] = helper.make_graph([node], name, [], [out])
    made.graph.node.append(helper.make_node("If", ["c"], ["y"], "choice", **bodies))
    return saved(made, folder)


def softmax_of_one_axis(folder: Path) -> Path:
    """Opset 13's Softmax over the middle axis has no such form in opset 12, which takes all axes from there on."""
    return saved(graph("g (float[batch,3,4] x) => (float[batch,3,4] y) { y = Softmax <axis = 1> (x) }"), folder)


def function_of_the_model(folder: Path) -> Path:
    """A function of the model's own, called twice: an opset change must not lose its body."""
    text = """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        g (float[batch,4] x) => (float[batch,4] y) { a = own.square (x)  b = Add (a, x)  y = own.square (b) }
        <domain: "own", opset_import: ["" : 17]> square (v) => (r) { r = Mul (v, v) }"""
    return saved(onnx.parser.parse_model(text), folder)


# -- float16 -------------------------------------------------------------------------------------------------------------


def resize_in_a_loop(folder: Path) -> Path:
    """Three pictures, each resized to a size in a Loop's body: ``sizes`` given, ``scales`` left out."""
    make = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Gather", ["x", "i"], ["one"], axis=0),
        helper.make_node("Resize", ["one", "", "", "sizes"], ["scan"], mode="linear"),
        helper.make_node("Identity", ["more"], ["go"]),
    ]
    inputs = [make("i", TensorProto.INT64, []), make("more", TensorProto.BOOL, [])]
    outputs = [make("go", TensorProto.BOOL, []), make("scan", TensorProto.FLOAT, [2, 6, 6])]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    made = graph(
        "g (float[3,2,4,4] x) => (float[3,2,6,6] y) { }", 13, sizes=longs(2, 6, 6), n=np.int64(3), yes=np.bool_(True)
    )
    made.graph.node.append(helper.make_node("Loop", ["n", "yes"], ["y"], "each", body=body))
    return saved(made, folder)


def tiny_epsilon(folder: Path) -> Path:
    """x / max(|x|, 1e-12): in float16 the epsilon must not become 0, or a row of zeros is NaN."""
    text = """g (float[batch,8] x) => (float[batch,8] y) {
        n = ReduceL2 <axes = [1]> (x)  d = Max (n, eps)  y = Div (x, d) }"""
    return saved(graph(text, eps=np.float32(1e-12)), folder)


def large_but_representable(folder: Path) -> Path:
    """Numbers of some 20,000, which float16 has: none may be cut at 10,000."""
    text = """g (float[batch,4] x) => (float[batch,4] y) {
        p = Sigmoid (x)  b = Mul (p, k)  y = Min (b, most) }"""
    np.savez(folder / "samples.npz", x=normal(48, 4, seed=1))
    return saved(graph(text, k=np.float32(30000), most=np.float32(20000)), folder)


# -- OpenVINO and TensorFlow Lite ----------------------------------------------------------------------------------------


def softmax_of_two_axes(folder: Path) -> Path:
    """Opset 11's Softmax over all axes from the second on."""
    return saved(graph("g (float[batch,3,4] x) => (float[batch,3,4] y) { y = Softmax <axis = 1> (x) }", 11), folder)


def reductions_by_attribute(folder: Path) -> Path:
    """Opset 13's reductions over one axis, which is an attribute; numbers whose exponentials float32 does not have."""
    text = """g (float[batch,3,6] x) => (float[batch,3] y, float[batch,1,6] z) {
        s = Mul (x, k)  y = ReduceLogSumExp <axes = [2], keepdims = 0> (s)  z = ReduceL1 <axes = [1]> (x) }"""
    return saved(graph(text, 13, k=np.float32(100)), folder)


def nearest_rounding_up(folder: Path) -> Path:
    """20 columns to 6 by the nearest one, where halves are rounded up."""
    text = """g (float[1,1,1,20] x) => (float[1,1,1,6] y) {
        y = Resize <mode = "nearest", coordinate_transformation_mode = "half_pixel", nearest_mode = "round_prefer_ceil">
            (x, , , sizes) }"""
    return saved(graph(text, 13, sizes=longs(1, 1, 1, 6)), folder)


def all_axes_alike(folder: Path) -> Path:
    """A Conv of 8 channels at 8 x 8, then a Reshape: no size says which axis the channels are."""
    text = """g (float[1,8,8,8] x) => (float[1,32,16] y) {
        c = Conv <pads = [1, 1, 1, 1]> (x, w)  r = Relu (c)  y = Reshape (r, shape) }"""
    return saved(graph(text, w=normal(8, 8, 3, 3, scale=0.2), shape=longs(1, 32, 16)), folder)


def turned_twice(folder: Path) -> Path:
    """A transposition that is an output and what a Conv reads."""
    text = """g (float[1,6,8] x) => (float[1,8,6] z, float[1,5,6] y) {
        z = Transpose <perm = [0, 2, 1]> (x)  y = Conv <pads = [1, 1]> (z, w) }"""
    return saved(graph(text, w=normal(5, 8, 3)), folder)
