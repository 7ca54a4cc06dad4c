"""Candidates of int8 for TensorFlow Lite: runs AI Edge Quantizer with given ranges and operators."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lib.convert.core import signatures
from lib.convert.tools import tflite_quantise
from lib.convert.tools.calibration import Row
from lib.convert.tools.quantise import tflite_bias, tflite_ranges
from lib.convert.tools.quantise.ranges import METHODS
from lib.convert.tools.quantise.search import Layer, Run
from lib.errors import JobFailed
from lib.tflite import file as tflite_file
from lib.tflite.signatures import parts

# BuiltinOperator codes: operators with weights, and those that add noise if activations are integers
WEIGHTED = {3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 7: "EMBEDDING_LOOKUP", 9: "FULLY_CONNECTED", 67: "TRANSPOSE_CONV"}
WEIGHTED |= {126: "BATCH_MATMUL"}
OTHERS = {0: "ADD", 1: "AVERAGE_POOL_2D", 14: "LOGISTIC", 18: "MUL", 25: "SOFTMAX", 28: "TANH", 40: "MEAN", 41: "SUB"}
OTHERS |= {42: "DIV", 74: "SUM", 76: "RSQRT", 78: "POW", 99: "SQUARED_DIFFERENCE", 150: "GELU", 117: "HARD_SWISH"}
SUBGRAPH_SAMPLES = 16  # samples for the ranges of graphs other than the main one
NO_SIGNATURE = "Static ranges need a file with a signature, and this one has none. Choose dynamic ranges."


class Tflite:
    """Quantises the artifact ``source``. ``static``: quantise activations, too, with ranges measured on ``rows``.

    A BATCH_MATMUL always gets one scale per tensor, since with one per channel its output is always zero.
    """

    def __init__(
        self, source: Path, rows: list[Row], report: Callable[[float], object], *, static: bool, per_channel: bool
    ) -> None:
        from ai_edge_quantizer.utils import tfl_flatbuffer_utils as utils

        self._source, self._static, self._per_channel = source, static, per_channel
        self._path = source / tflite_file.NAME
        self._file = tflite_file.read(self._path)
        self._rows = rows
        self._parts = parts(self._file, signatures.chosen(source))
        self.methods = ("minmax", "percentile", "moving average") if static else ("dynamic",)
        kinds = WEIGHTED | (OTHERS if static else {})
        model = utils.read_model(str(self._path))
        graph = model.subgraphs[0]
        self._places: dict[str, int] = {}  # operator index by its scope, as the tool names it
        self.layers: list[Layer] = []
        for place, plain in enumerate(self._file["subgraphs"][0]["operators"]):
            scope = utils.get_op_scope(graph.operators[place], graph.tensors)
            kind = kinds.get(tflite_file.code(self._file, plain))
            if kind and self._floats(plain) and scope not in self._places:
                self._places[scope] = place
                self.layers.append(Layer(scope, kind, self._bytes(plain)))
        self._measured: dict[str, Any] = {}
        self._rounded: dict[int, np.ndarray] = {}
        self.seen = 0
        if static and self.layers:
            if not all(part.key for part in self._parts):
                raise JobFailed(NO_SIGNATURE)
            main = next((p for p in self._parts if p.graph == 0), None)
            if main is None:
                raise JobFailed("The chosen signature is not the file's main graph. Choose dynamic ranges.")
            self._found, means = tflite_ranges.measured(self._path, self._file, main, rows, report)
            self.seen = self._found.samples
            self._rounded = tflite_ranges.rounded(self._file, means) if per_channel else {}
            self._tool_ranges = self._of_the_tool()

    def reference(self) -> Run:
        return self._running(bytes(self._file["whole"]))

    def candidate(self, method: str, floats: frozenset[str] = frozenset(), only: str | None = None) -> Run:
        return self._running(self.quantised(method, floats, only))

    def quantised(self, method: str, floats: frozenset[str] = frozenset(), only: str | None = None) -> bytes:
        """Returns the quantised file, without the layers ``floats`` or with ``only`` one. Raises JobFailed."""
        quantiser = self._quantiser(floats, only)
        try:
            with tflite_quantise.quiet():
                result = quantiser.quantize(self._ranges(method) if self._static else None, enable_progress_report=False)
        except Exception as error:
            raise tflite_quantise.failure(error) from None
        data = bytes(result.quantized_model)
        return tflite_bias.without_bias_overflow(data, self._file) if self._static else data

    def _quantiser(self, floats: frozenset[str] = frozenset(), only: str | None = None) -> Any:
        from ai_edge_quantizer import qtyping, quantizer, recipe

        float_places = {place for scope, place in self._places.items() if scope in floats or (only and scope != only)}
        weights = {place: values for place, values in self._rounded.items() if place not in float_places}
        source = tflite_ranges.with_weights(self._file, weights) if weights else self._path
        regex = f"^{re.escape(only)}$" if only else ".*"
        fine, coarse = qtyping.QuantGranularity.CHANNELWISE, qtyping.QuantGranularity.TENSORWISE
        names = qtyping.TFLOperationName
        try:
            with tflite_quantise.quiet():
                tool = quantizer.Quantizer(source)
                for name in (names.ALL_SUPPORTED, names.BATCH_MATMUL):
                    grain = fine if self._per_channel and name == names.ALL_SUPPORTED else coarse
                    if self._static:
                        tool.add_static_config(regex, name, 8, 8, grain)
                    else:
                        tool.add_dynamic_config(regex, name, 8, grain)
                for end in (names.INPUT, names.OUTPUT):
                    tool.update_quantization_recipe(".*", end, algorithm_key=recipe.AlgorithmName.NO_QUANTIZE)
                if floats:
                    pattern = "|".join(re.escape(scope) for scope in sorted(floats))
                    tool.update_quantization_recipe(
                        f"^({pattern})$", names.ALL_SUPPORTED, algorithm_key=recipe.AlgorithmName.NO_QUANTIZE
                    )
        except Exception as error:  # flatbuffers', numpy's and its own
            raise tflite_quantise.failure(error) from None
        return tool

    def _of_the_tool(self) -> dict[str, Any]:
        """Returns the tool's own ranges. Those of the main graph only serve as templates: which tensors, in which shape."""
        merged: dict[str, Any] = {}
        several = len(self._parts) > 1
        for part in self._parts:
            skip = len(signatures.named(part.key, "", several))
            for row in self._rows[: SUBGRAPH_SAMPLES if part.graph else 1]:
                sample = {name[skip:]: row[name] for name in part.inputs}
                try:
                    with tflite_quantise.quiet():
                        calibrated = self._quantiser().calibrate({part.key: [sample]}, num_threads=2)
                except Exception as error:
                    raise tflite_quantise.failure(error) from None
                for name, limits in calibrated.items():
                    total = merged.setdefault(name, dict(limits))
                    total["min"], total["max"] = (
                        np.minimum(total["min"], limits["min"]),
                        np.maximum(total["max"], limits["max"]),
                    )
        return merged

    def _ranges(self, method: str) -> dict[str, Any]:
        if method not in self._measured:
            ranges = METHODS[method](self._found)
            out = {}
            for name, limits in self._tool_ranges.items():
                out[name] = dict(limits)
                if name in ranges and limits["min"].dtype.kind == "f":
                    out[name]["min"] = np.full_like(limits["min"], ranges[name][0])
                    out[name]["max"] = np.full_like(limits["max"], ranges[name][1])
            self._measured[method] = out
        return self._measured[method]

    def _running(self, data: bytes) -> Run:
        from lib.convert.formats.tflite.runner import TfliteRunner

        folder = tempfile.TemporaryDirectory()
        for beside in self._source.iterdir():
            if beside.is_file() and beside.name != tflite_file.NAME:
                shutil.copy(beside, folder.name)
        (Path(folder.name) / tflite_file.NAME).write_bytes(data)
        runner = TfliteRunner(Path(folder.name))
        folder.cleanup()  # the interpreter keeps the file mapped
        return runner.run

    def _floats(self, operator: dict[str, Any]) -> bool:
        tensors = self._file["subgraphs"][0]["tensors"]
        return any(tensors[k]["type"] == 0 for k in operator["outputs"].tolist() if k >= 0)

    def _bytes(self, operator: dict[str, Any]) -> int:
        """Returns the bytes of the operator's float32 constants."""
        tensors, total = self._file["subgraphs"][0]["tensors"], 0
        for number in {k for k in operator["inputs"].tolist() if k >= 0}:
            value = tflite_file.stored(self._file, tensors[number])
            total += value.nbytes if value is not None and value.dtype == np.float32 else 0
        return total
