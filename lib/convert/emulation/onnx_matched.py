"""Matches quantised weights with the source's constants, and checks that they are those constants, rounded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import ModelProto

from lib.convert.emulation import onnx_fold
from lib.convert.emulation.draws import Emulation
from lib.convert.emulation.numbers import MOVED, far_steps, rounded, spread
from lib.convert.emulation.onnx_described import QuantizedTensors, Weight

Rounder = Callable[[np.ndarray, "np.random.Generator | None"], np.ndarray]
FOLDED_BEHIND = {"Relu", "Clip", "Add", "BatchNormalization"}
FOLLOWING = {"BatchNormalization", "Mul", "Div", "Add", "Sub"}  # operators that tools fold into the preceding weight


def match_weights(
    model: ModelProto, unfolded: dict[str, np.ndarray], quantization: QuantizedTensors, found: Emulation
) -> dict[str, Rounder]:
    """Returns rounders by the names of ``model``'s initializers, and fills the weight counts and complaints of ``found``.

    ``unfolded``: the constants before batch norms were folded.
    """
    constants = onnx_fold.constants(model)
    by_output = {name: node for node in model.graph.node for name in node.output}
    takers: dict[str, list] = {}
    for node in model.graph.node:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    out: dict[str, Rounder] = {}
    unmatched: list[Weight] = []
    for weight in quantization.weights:
        found.weight_count += 1
        names = _candidates(weight, constants, by_output)
        if not names:
            unmatched.append(weight)
            continue
        candidates = [(name, *_distance(weight, value)) for name in names for value in _versions(name, constants, unfolded)]
        name, distance, count, axis, transposed = min(candidates, key=lambda t: (t[2], t[1]))
        if count and _may_be_folded(name, takers, quantization):
            unmatched.append(weight)
            continue
        found.compared += 1
        if count:
            found.weights.append(
                f"The weight {name.removesuffix(onnx_fold.FOLDED)[:100]!r} is not the source's weight rounded: {count} of "
                f"{weight.integers.size} values, by up to {distance:.3g} steps."
            )
        if weight.integers.ndim > 1:
            out[name] = _rounder(weight, axis, transposed)
    found.weights += _compare_float_weights(unfolded, quantization, takers)
    if unmatched:
        _round_by_own_range(model, constants, quantization, unmatched, out)
    return out


def _compare_float_weights(
    unfolded: dict[str, np.ndarray], quantization: QuantizedTensors, takers: dict[str, list]
) -> list[str]:
    """Returns complaints about weights that stay float in the file but differ from the source's."""
    out = []
    for name in unfolded.keys() & quantization.floats.keys():
        expected, actual = unfolded[name], quantization.floats[name]
        if expected.dtype != np.float32 or expected.ndim < 2 or expected.shape != actual.shape:
            continue
        wrong = ~np.isclose(actual, expected, rtol=1e-5, atol=1e-30, equal_nan=True)
        if wrong.any() and not _may_be_folded(name, takers, quantization):
            out.append(f"The weight {name[:100]!r} is not the source's: {int(wrong.sum())} of {wrong.size} values.")
    return sorted(out)


def _candidates(weight: Weight, held: dict[str, np.ndarray], by_output: dict[str, object]) -> list[str]:
    """Returns candidate constants: by the weight's name without tool suffixes, else by operators with the same output."""

    def fits(name: str) -> bool:
        value = held.get(name)
        shapes = (
            weight.integers.shape,
            (*weight.integers.shape[:-2], *weight.integers.shape[:-3:-1]),
        )  # as stored, or transposed
        return value is not None and value.dtype == np.float32 and value.shape in shapes

    short = weight.name.removesuffix("_Transposed").removesuffix("_transposed")
    names = [n for n in (weight.name, short) if fits(n)]
    folded = [n + onnx_fold.FOLDED for n in names if fits(n + onnx_fold.FOLDED)]
    if not names:
        for output_name in weight.makes:
            node = by_output.get(output_name)
            for _ in range(3):  # walk back over operators that tools fold into the product
                names += [n for n in getattr(node, "input", ()) if fits(n)]
                if names or node is None or node.op_type not in FOLDED_BEHIND:
                    break
                node = by_output.get(node.input[0])
            if names:
                break
    return list(dict.fromkeys(folded + names))[:4]


def _versions(name: str, held: dict[str, np.ndarray], unfolded: dict[str, np.ndarray]) -> list[np.ndarray]:
    before = unfolded.get(name.removesuffix(onnx_fold.FOLDED))
    return [held[name]] + ([before] if before is not None and before.shape == held[name].shape else [])


def _distance(weight: Weight, value: np.ndarray) -> tuple[float, int, int | None, bool]:
    """Returns (largest distance in steps, number of wrong values, axis of the scales, whether it is transposed)."""
    best: tuple[float, int, int | None, bool] | None = None
    turned = [(value, False)] + ([(value.swapaxes(-1, -2), True)] if value.ndim > 1 else [])
    for candidate, transposed in turned:
        if candidate.shape != weight.integers.shape:
            continue
        for axis in weight.axes():
            distances = far_steps(candidate, weight.integers, weight.scale, weight.zero, axis)
            result = float(distances.max(initial=0.0)), int((distances > MOVED).sum()), axis, transposed
            best = result if best is None or result[1] < best[1] else best
            if not result[1]:
                return result
    return best or (float("inf"), weight.integers.size, None, False)


def _may_be_folded(name: str, takers: dict[str, list], quantization: QuantizedTensors) -> bool:
    """Whether an operator that tools fold into weights follows in the source but is missing from the file."""
    for node in takers.get(name, []):
        for after in takers.get(node.output[0], []):
            if after.op_type in FOLLOWING and (after.op_type, after.output[0]) not in quantization.made:
                return True
    return False


def _rounder(weight: Weight, axis: int | None, transposed: bool) -> Rounder:
    ends = np.iinfo(weight.integers.dtype)

    def change(values: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        oriented = values.swapaxes(-1, -2) if transposed else values
        scale, zero = (spread(v, oriented.ndim, axis) for v in (weight.scale, weight.zero))
        out = rounded(oriented, scale, zero, ends, rng)
        return out.swapaxes(-1, -2) if transposed else out

    return change


def _round_by_own_range(
    model: ModelProto,
    held: dict[str, np.ndarray],
    quantization: QuantizedTensors,
    unmatched: list[Weight],
    out: dict[str, Rounder],
) -> None:
    """Adds rounders for products' weights without a match, by their own range, unless the file keeps them as floats."""
    products = {"Conv", "ConvTranspose", "MatMul", "Gemm", "LSTM", "GRU", "RNN"}
    big = [w for w in unmatched if w.integers.ndim > 1]
    if not big:
        return
    channels = sum(w.scale.size > 1 for w in big) * 2 > len(big)
    signed = sum(w.integers.dtype.kind == "i" for w in big) * 2 > len(big)
    for node in model.graph.node:
        for k, name in enumerate(node.input[:3]):
            value = held.get(name)
            done = name in out or name.removesuffix(onnx_fold.FOLDED) in quantization.floats
            if node.op_type in products and value is not None and value.dtype == np.float32 and value.ndim > 1 and not done:
                axis = 0 if node.op_type == "Conv" else 1 if node.op_type in ("LSTM", "GRU", "RNN") else value.ndim - 1
                out[name] = _range_rounder(axis if channels and k else None, signed)


def _range_rounder(axis: int | None, signed: bool) -> Rounder:
    def change(values: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        axes = tuple(k for k in range(values.ndim) if k != axis)
        low, high = np.minimum(values.min(axes, keepdims=True), 0), np.maximum(values.max(axes, keepdims=True), 0)
        if signed:
            scale, zero = np.maximum(high, -low) / 127, np.zeros(())
        else:
            scale = (high - low) / 255
            zero = np.rint(-low / np.maximum(scale, 1e-38))
        return rounded(values, scale, zero, np.iinfo(np.int8 if signed else np.uint8), rng)

    return change
