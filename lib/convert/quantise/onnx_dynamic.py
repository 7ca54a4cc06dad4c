"""Candidates of dynamic int8 for ONNX: weights of eight bits, activations quantised as they come."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto

from lib.convert import onnx_order, onnx_quantise
from lib.convert.quantise import onnx_runs, onnx_weights
from lib.convert.quantise.search import Layer, Run


class Dynamic:
    """``path`` is a model of ``onnx_quantise.prepare``; files are made beside it.

    Weights are unsigned: onnxruntime's ConvInteger takes nothing else, and they saturate on no processor.
    """

    methods = ("dynamic",)

    def __init__(self, path: Path, *, per_channel: bool) -> None:
        from onnxruntime.quantization.onnx_model import ONNXModel
        from onnxruntime.quantization.registry import IntegerOpsRegistry

        self._source, self._per_channel = path, per_channel
        model = ONNXModel(onnx.load(str(path)))
        model.replace_gemm_with_matmul()  # as the tool does, under names that it could not be told
        onnx_quantise.named(model.model)
        self._path = path.with_name("products.onnx")
        onnx.save(model.model, str(self._path), save_as_external_data=model.model.ByteSize() > onnx_quantise.WHOLE)
        sizes = onnx_weights.sizes(model.model)
        nodes = [n for n in model.model.graph.node if n.op_type in IntegerOpsRegistry]
        self.layers = [Layer(n.name, n.op_type, held) for n in nodes if (held := onnx_weights.held(n, sizes))]

    def reference(self) -> Run:
        return onnx_runs.run(self._source)

    def candidate(self, method: str, floats: frozenset[str] = frozenset(), only: str | None = None) -> Run:
        made = self.made(method, floats, only)
        return onnx_runs.run(made.SerializeToString())

    def made(self, method: str, floats: frozenset[str] = frozenset(), only: str | None = None) -> ModelProto:
        """Raises JobFailed."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        out = self._path.with_name("candidate.onnx")
        try:
            with onnx_quantise.quiet():
                quantize_dynamic(
                    self._path,
                    out,
                    per_channel=self._per_channel,
                    weight_type=QuantType.QUInt8,
                    nodes_to_quantize=[only] if only else [],
                    nodes_to_exclude=sorted(floats),
                )
            model = onnx.load(str(out))
        except Exception as error:  # asserts, KeyErrors and the like on graphs it does not expect
            raise onnx_quantise.refused(error) from None
        onnx_order.sort(model.graph)  # the tool does not see what subgraphs read
        return model
