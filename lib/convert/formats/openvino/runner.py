"""Runs OpenVINO IR on the CPU in float32, with OpenVINO's telemetry switched off."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from lib.errors import InvalidFile, JobFailed
from lib.model_inputs.signature import Signature, Value
from lib.onnx_model.words import clean

Arrays = dict[str, np.ndarray]


def quiet() -> ModuleType:
    """Imports ``openvino`` without its telemetry, which reports every import and conversion to a server."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # makes openvino use its own stub
    import openvino

    return openvino


class OpenvinoRunner:
    """Runs ``model.xml`` of an artifact folder.

    A dynamic dimension is named by its position, such as ``x[0]``: the IR does not keep symbols.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "model.xml"
        if not path.is_file():
            raise InvalidFile("There is no model.xml in this artifact.")
        self._openvino = quiet()
        try:
            self._model = self._openvino.Core().read_model(str(path))
        except Exception as error:  # RuntimeError from its C++ part
            raise InvalidFile(f"OpenVINO cannot read model.xml: {clean(str(error))}") from None
        self._inputs = [_name(p.output(0), p) for p in self._model.get_parameters()]
        self._outputs = [_name(r.input_value(0), r) for r in self._model.get_results()]
        self._compiled: Any = None

    def signature(self) -> Signature:
        inputs = zip(self._inputs, (p.output(0) for p in self._model.get_parameters()), strict=True)
        outputs = zip(self._outputs, (r.output(0) for r in self._model.get_results()), strict=True)
        return Signature(*(tuple(_value(name, port) for name, port in side) for side in (inputs, outputs)))

    def run(self, inputs: Arrays) -> Arrays:
        """Runs the model. Raises JobFailed for missing inputs, or with OpenVINO's message."""
        if missing := [name for name in self._inputs if name not in inputs]:
            raise JobFailed(f"Missing inputs: {', '.join(missing)}.")
        try:
            if self._compiled is None:
                config = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
                self._compiled = self._openvino.Core().compile_model(self._model, "CPU", config)
            results = self._compiled([np.asarray(inputs[name], order="C") for name in self._inputs])
            return {name: np.array(results[k]) for k, name in enumerate(self._outputs)}
        except Exception as error:  # RuntimeError from its C++ part, ValueError from its Python part
            raise JobFailed(f"OpenVINO refused: {clean(str(error)) or type(error).__name__}") from None

    def close(self) -> None:
        self._compiled = None


def _name(port: Any, node: Any) -> str:
    """Returns the tensor's name if it has exactly one, else the node's name."""
    names = port.get_names()
    return next(iter(names)) if len(names) == 1 else node.get_friendly_name()


def _value(name: str, port: Any) -> Value:
    element_type = port.get_element_type()
    shape = port.get_partial_shape()
    dtype = np.dtype(element_type.to_dtype()).name
    if shape.rank.is_dynamic:
        return Value(name, dtype, (f"{name}[...]",))
    return Value(name, dtype, tuple(d.get_length() if d.is_static else f"{name}[{k}]" for k, d in enumerate(shape)))
