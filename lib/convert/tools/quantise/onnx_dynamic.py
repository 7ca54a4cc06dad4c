"""Candidates of dynamic int8 for ONNX: 8-bit weights, activations quantised at run time."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto

from lib.convert.formats.onnx import order as onnx_order
from lib.convert.tools import onnx_quantise
from lib.convert.tools.quantise import onnx_runs, onnx_weights
from lib.convert.tools.quantise.search import Layer, Run


class Dynamic:
    """Quantises the model at ``path``, as written by ``onnx_quantise.prepare``; creates files beside it.

    Weights are unsigned: onnxruntime's ConvInteger accepts nothing else, and they never saturate. Weights with more than two
    dimensions have a single scale, since its MatMulInteger accepts no per-channel zero point for them.
    """

    methods = ("dynamic",)

    def __init__(self, path: Path, *, per_channel: bool) -> None:
        from onnxruntime.quantization.onnx_model import ONNXModel
        from onnxruntime.quantization.registry import IntegerOpsRegistry

        self._source, self._per_channel = path, per_channel
        model = ONNXModel(onnx.load(str(path)))
        model.replace_gemm_with_matmul()  # the tool would do this itself, with names that could not be excluded
        onnx_quantise.named(model.model)
        self._path = path.with_name("products.onnx")
        onnx.save(model.model, str(self._path), save_as_external_data=model.model.ByteSize() > onnx_quantise.WHOLE)
        sizes = onnx_weights.sizes(model.model)
        self._stacked = onnx_weights.stacked(model.model) if per_channel else frozenset()
        nodes = [n for n in model.model.graph.node if n.op_type in IntegerOpsRegistry]
        self.layers = [
            Layer(n.name, n.op_type, weight_bytes) for n in nodes if (weight_bytes := onnx_weights.held(n, sizes))
        ]

    def reference(self) -> Run:
        return onnx_runs.run(self._source)

    def candidate(self, method: str, floats: frozenset[str] = frozenset(), only: str | None = None) -> Run:
        model = self.quantised(method, floats, only)
        return onnx_runs.run(model.SerializeToString())

    def quantised(self, method: str, floats: frozenset[str] = frozenset(), only: str | None = None) -> ModelProto:
        """Returns the quantised model, without the layers ``floats`` or with ``only`` one. Raises JobFailed."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        path = self._path
        try:
            with onnx_quantise.quiet():
                for k, (per_channel, nodes, leave) in enumerate(self._passes(floats, only)):
                    before, path = path, path.with_name(f"candidate{k}.onnx")
                    quantize_dynamic(
                        before,
                        path,
                        per_channel=per_channel,
                        weight_type=QuantType.QUInt8,
                        nodes_to_quantize=nodes,
                        nodes_to_exclude=leave,
                    )
            model = onnx.load(str(path))
        except Exception as error:  # asserts, KeyErrors and the like on unexpected graphs
            raise onnx_quantise.refused(error) from None
        onnx_order.sort(model.graph)  # the tool ignores what subgraphs read
        return model

    def _passes(self, floats: frozenset[str], only: str | None) -> list[tuple[bool, list[str], list[str]]]:
        """Returns (per_channel, nodes to quantise ([]: all), nodes to exclude) for each successive run of the tool."""
        if only:
            return [(self._per_channel and only not in self._stacked, [only], [])]
        per_tensor = sorted(self._stacked - floats)
        main_pass = (self._per_channel, [], sorted(floats | self._stacked))
        return [main_pass, (False, per_tensor, [])] if per_tensor else [main_pass]
