"""Candidates of static int8 for ONNX (QDQ): onnxruntime's quantiser, given ranges and a choice of nodes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

from lib.convert.formats.onnx import order as onnx_order
from lib.convert.tools import onnx_quantise
from lib.convert.tools.calibration import Row
from lib.convert.tools.quantise import onnx_runs, onnx_weights, rounding, saturation
from lib.convert.tools.quantise.ranges import METHODS, Range
from lib.convert.tools.quantise.search import Layer, Run

# The range of what they cut off never matters: the step before is quantised to what they let through. Quantised
# themselves, they keep the wide range wherever a neighbour stays float.
CUTTING = ("Clip", "Relu")
# They pass values on as they are, so they are quantised where their neighbours are and make no noise of their own.
PASSING = {
    *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "MaxPool", "Slice", "Pad", "Split", "Gather"),
    *("GatherElements", "Concat", "Resize", "TopK", "ArgMax"),
}


class Static:
    """``path`` is a model of ``onnx_quantise.prepare``; its ranges are measured on ``rows``."""

    methods = ("minmax", "percentile", "entropy")

    def __init__(
        self, path: Path, rows: list[Row], report: Callable[[float], object], *, per_channel: bool, weights: str
    ) -> None:
        from onnxruntime.quantization.quant_utils import load_model_with_shape_infer
        from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

        self._path, self._per_channel, self._weights = path, per_channel, weights
        with onnx_quantise.quiet():
            self._model: ModelProto = load_model_with_shape_infer(path)
        self._operators = sorted((set(QDQRegistry) | set(QLinearOpsRegistry)) - set(CUTTING))
        self._leave = onnx_quantise.scores(path)
        nodes = [n for n in self._model.graph.node if n.op_type in self._operators and n.name not in self._leave]
        sizes = onnx_weights.sizes(self._model)
        self.layers = [
            Layer(n.name, n.op_type, onnx_weights.held(n, sizes)) for n in nodes if n.op_type not in PASSING
        ]  # fmt: skip
        self._ranges: dict[str, dict[str, Range]] = {}
        self.seen = 0
        if not self.layers:
            return
        products, means = onnx_weights.products(self._model), rounding.Means()
        self._found = onnx_runs.ranges(path, path.parent, rows, report, onnx_weights.watcher(products, means))
        self.seen = self._found.samples
        # by the product's node: its weight's name and that weight, rounded; the grid of unsigned ones lies between
        self._rounded = {}
        if weights != saturation.UNSIGNED:
            levels = saturation.LEVELS[weights]
            self._rounded = onnx_weights.rounded(self._model, products, means, levels, per_channel=per_channel)

    def reference(self) -> Run:
        return onnx_runs.run(self._path)

    def candidate(self, method: str, floats: frozenset[str] = frozenset(), only: str | None = None) -> Run:
        return onnx_runs.run(self.quantised(method, floats, only).SerializeToString())

    def quantised(self, method: str, floats: frozenset[str] = frozenset(), only: str | None = None) -> ModelProto:
        """Raises JobFailed."""
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        ends = {n: (np.float32(low), np.float32(high)) for n, (low, high) in self._of(method).items()}
        unsigned = self._weights == saturation.UNSIGNED
        try:
            with onnx_quantise.quiet():
                quantizer = QDQQuantizer(
                    self._with_rounded(floats, only),
                    per_channel=self._per_channel,
                    reduce_range=self._weights == saturation.SEVEN,
                    weight_qType=QuantType.QUInt8 if unsigned else QuantType.QInt8,
                    activation_qType=QuantType.QUInt8,
                    tensors_range=TensorsData(CalibrationMethod.MinMax, ends),
                    nodes_to_quantize=[only] if only else [],
                    nodes_to_exclude=[*self._leave, *sorted(floats)],
                    op_types_to_quantize=self._operators,
                    # one zero point for all channels: kernels take nothing else
                    extra_options={"WeightSymmetric": True},
                )
                quantizer.quantize_model()
        except Exception as error:  # asserts, KeyErrors and the like on graphs it does not expect
            raise onnx_quantise.refused(error) from None
        model: ModelProto = quantizer.model.model
        onnx_order.sort(model.graph)  # the tool does not see what subgraphs read
        return model

    def _with_rounded(self, floats: frozenset[str], only: str | None) -> ModelProto:
        """A copy in which every product that is to be quantised has its rounded weight."""
        model = copy.deepcopy(self._model)
        chosen = dict(weight for node, weight in self._rounded.items() if node not in floats and only in (None, node))
        for tensor in model.graph.initializer:
            if tensor.name in chosen:
                tensor.CopyFrom(numpy_helper.from_array(chosen[tensor.name], tensor.name))
        return model

    def _of(self, method: str) -> dict[str, Range]:
        """Ranges with zero inside, which is how quantisation wants them."""
        if method not in self._ranges:
            found = {n: (min(low, 0.0), max(high, 0.0)) for n, (low, high) in METHODS[method](self._found).items()}
            # the quantiser wants a range of an empty slice, too, and any will do
            found |= dict.fromkeys(self._found.empty(), (0.0, 0.0))
            readers: dict[str, list[NodeProto]] = {}
            for node in self._model.graph.node:
                for name in node.input:
                    readers.setdefault(name, []).append(node)
            outputs = {o.name for o in self._model.graph.output}
            for node in self._model.graph.node:
                before = node.input[0] if node.input else ""
                alone = len(readers.get(before, [])) == 1 and before not in outputs
                if node.op_type in CUTTING and alone and before in found and node.output[0] in found:
                    found[before] = found[node.output[0]]
            self._ranges[method] = found
        return self._ranges[method]
