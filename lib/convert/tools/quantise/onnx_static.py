"""Candidates of static int8 for ONNX (QDQ): runs onnxruntime's quantiser with given ranges and nodes."""

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

# Their input is quantised to the range of their output, since whatever lies beyond is cut off anyway. Quantising the
# operators themselves would keep the wide range wherever a neighbour stays float.
CUTTING = ("Clip", "Relu")
# They only move values, so they are quantised along with their neighbours and add no noise of their own.
PASSING = {
    *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "MaxPool", "Slice", "Pad", "Split", "Gather"),
    *("GatherElements", "Concat", "Resize", "TopK", "ArgMax"),
}


class Static:
    """Quantises the model at ``path``, as written by ``onnx_quantise.prepare``, with ranges measured on ``rows``."""

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
        # product node -> (name of its weight, rounded weight); unsigned weights have another grid
        self._rounded = {}
        if weights != saturation.UNSIGNED:
            levels = saturation.LEVELS[weights]
            self._rounded = onnx_weights.rounded(self._model, products, means, levels, per_channel=per_channel)

    def reference(self) -> Run:
        return onnx_runs.run(self._path)

    def candidate(self, method: str, floats: frozenset[str] = frozenset(), only: str | None = None) -> Run:
        return onnx_runs.run(self.quantised(method, floats, only).SerializeToString())

    def quantised(self, method: str, floats: frozenset[str] = frozenset(), only: str | None = None) -> ModelProto:
        """Returns the quantised model, without the layers ``floats`` or with ``only`` one. Raises JobFailed."""
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
                    # kernels accept only one zero point for all channels
                    extra_options={"WeightSymmetric": True},
                )
                quantizer.quantize_model()
        except Exception as error:  # asserts, KeyErrors and the like on unexpected graphs
            raise onnx_quantise.refused(error) from None
        model: ModelProto = quantizer.model.model
        onnx_order.sort(model.graph)  # the tool ignores what subgraphs read
        return model

    def _with_rounded(self, floats: frozenset[str], only: str | None) -> ModelProto:
        """Returns a copy of the model with rounded weights in every product that will be quantised."""
        model = copy.deepcopy(self._model)
        chosen = dict(weight for node, weight in self._rounded.items() if node not in floats and only in (None, node))
        for tensor in model.graph.initializer:
            if tensor.name in chosen:
                tensor.CopyFrom(numpy_helper.from_array(chosen[tensor.name], tensor.name))
        return model

    def _of(self, method: str) -> dict[str, Range]:
        """Returns the method's ranges, widened to include zero as quantisation requires."""
        if method not in self._ranges:
            ranges = {n: (min(low, 0.0), max(high, 0.0)) for n, (low, high) in METHODS[method](self._found).items()}
            # the quantiser needs a range for empty tensors, too; any will do
            ranges |= dict.fromkeys(self._found.empty(), (0.0, 0.0))
            readers: dict[str, list[NodeProto]] = {}
            for node in self._model.graph.node:
                for name in node.input:
                    readers.setdefault(name, []).append(node)
            outputs = {o.name for o in self._model.graph.output}
            for node in self._model.graph.node:
                source = node.input[0] if node.input else ""
                only_reader = len(readers.get(source, [])) == 1 and source not in outputs
                if node.op_type in CUTTING and only_reader and source in ranges and node.output[0] in ranges:
                    ranges[source] = ranges[node.output[0]]
            self._ranges[method] = ranges
        return self._ranges[method]
