"""Emulates float16 for ONNX: rounds the weights and, for float16 arithmetic, every float32 tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lib.convert.emulation import onnx_graph, onnx_weights
from lib.convert.emulation.draws import Arrays, Emulation, run_draws
from lib.convert.emulation.numbers import nearest, shifted
from lib.convert.formats.onnx import files as onnx_files


def fill(found: Emulation, source: Path, target: Path, inputs: list[Arrays], seed: int, draws: int) -> None:
    """Fills ``found`` for the float16 ONNX artifact ``target``. Raises like ``emulated.emulated``, and JobFailed."""
    model, file = onnx_graph.opened(source), onnx_files.read(target)
    onnx_weights.compare_float16(model, file, found)
    kept = _float32(file)
    names = (onnx_graph.float_tensors(model) | onnx_graph.float_inputs(model)) - kept
    _run(found, model, names, kept, inputs, seed, draws)


def fill_weights_only(found: Emulation, source: Path, _: Path, inputs: list[Arrays], seed: int, draws: int) -> None:
    """Fills ``found`` for a format that stores weights as float16 and computes in float32. Does not read the target."""
    _run(found, onnx_graph.opened(source), set(), set(), inputs, seed, draws)


def _run(
    found: Emulation, model: ModelProto, names: set[str], kept: set[str], inputs: list[Arrays], seed: int, draws: int
) -> None:
    run_draws(found, lambda rng: onnx_graph.run(_rounded(model, names, kept, rng), inputs), seed, draws)


def _rounded(model: ModelProto, names: set[str], kept: set[str], rng: np.random.Generator | None) -> ModelProto:
    out = onnx_graph.copied(model)

    def constant(name: str, values: np.ndarray) -> np.ndarray:
        if name in kept:
            return values
        return nearest(values) if rng is None else shifted(values, rng)

    def float16_cast(before: str, after: str) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
        half, full = {"to": TensorProto.FLOAT16}, {"to": TensorProto.FLOAT}
        if rng is None:
            small = f"{after}__half"
            nodes = [helper.make_node("Cast", [before], [small], **half), helper.make_node("Cast", [small], [after], **full)]
            return nodes, []
        factor = np.float32(rng.uniform(0.5, 1.0))
        stretch, inverse, stretched, small, full32 = (
            f"{after}__{k}" for k in ("factor", "back", "stretched", "half", "full")
        )
        nodes = [
            helper.make_node("Mul", [before, stretch], [stretched]),
            helper.make_node("Cast", [stretched], [small], **half),
            helper.make_node("Cast", [small], [full32], **full),
            helper.make_node("Mul", [full32, inverse], [after]),
        ]
        return nodes, [
            numpy_helper.from_array(np.array(v, np.float32), n) for v, n in ((factor, stretch), (1 / factor, inverse))
        ]

    onnx_graph.change_constants(out, constant)
    onnx_graph.insert_after(out, names, float16_cast)
    return out


def _float32(file: ModelProto) -> set[str]:
    """Returns the names of weights and tensors that the file keeps in float32."""
    kinds = {t.name: t.data_type for g in onnx_graph.graphs(file.graph) for t in g.initializer}
    computed = onnx_graph.float_tensors(file)
    casts = {name for g in onnx_graph.graphs(file.graph) for n in g.node if n.op_type == "Cast" for name in n.output}
    weights = {name for name, kind in kinds.items() if kind == TensorProto.FLOAT}
    return weights | (computed - casts - {v.name for v in file.graph.output})
