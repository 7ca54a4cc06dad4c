"""Runs ONNX artifacts in onnxruntime, or in onnx's ReferenceEvaluator as a second opinion.

``lib/onnx_model/open.py`` checks the file first; a model with paths outside its folder is never loaded.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator
from onnxruntime.capi import onnxruntime_pybind11_state as state

from lib.convert.formats.onnx import check as onnx_check
from lib.convert.formats.onnx import files as onnx_files
from lib.convert.formats.onnx import unreached_code as onnx_unseen
from lib.convert.formats.onnx.files import opened
from lib.convert.formats.onnx.opset import broadcast as opset_broadcast
from lib.errors import JobFailed, LimitExceeded
from lib.model_inputs.signature import Signature
from lib.onnx_model import hints, reference_patches
from lib.onnx_model.constant_outputs import constant_outputs
from lib.onnx_model.runtime import CPU, options, ready
from lib.onnx_model.signature import signature
from lib.onnx_model.words import clean

Arrays = dict[str, np.ndarray]


class OnnxRunner:
    """Runs ``model.onnx`` of an artifact folder.

    ``run`` loads the model on first use, so that a model onnxruntime rejects still has a signature.
    """

    def __init__(self, folder: Path) -> None:
        self._model = opened(folder)
        self._path = str(self._model.path)
        self._signature: Signature | None = None
        self._session: onnxruntime.InferenceSession | None = None
        self._reference: ReferenceEvaluator | None = None
        self.seconds = 0.0  # time limit of one run; 0 for none

    def check(self) -> None:
        """Raises InvalidFile for a broken model, before any tool is given it."""
        onnx_check.check(Path(self._path).parent)

    def constants(self) -> list[str]:
        """Returns the outputs that depend on no input."""
        return constant_outputs(self._model.proto)

    def hints(self) -> dict[str, object]:
        """Returns preprocessing hints (labels, input range, normalization) from the model's metadata and first nodes."""
        return hints.of(self._model.proto, self.signature())

    def signature(self) -> Signature:
        """Returns the model's inputs and outputs. Raises InvalidFile for an input or output that is not a tensor."""
        if self._signature is None:
            self._signature = signature(self._model.proto)
        return self._signature

    def run(self, inputs: Arrays) -> Arrays:
        """Runs the model in onnxruntime.

        Models older than onnxruntime's first opset fall back to the reference evaluator. Raises JobFailed with the
        runtime's message, LimitExceeded after ``seconds``.
        """
        predates_runtime = 0 < onnx_files.opset(self._model.proto) < opset_broadcast.FIRST
        try:
            if self._session is None:
                self._session = onnxruntime.InferenceSession(self._path, options(), providers=CPU)
            with _stopped(self.seconds) as run_options:
                outputs = ready(self._session, inputs, run_options)()
        except LimitExceeded:
            raise
        except Exception as error:  # onnxruntime's errors share no public base class
            if predates_runtime and isinstance(error, state.NotImplemented):
                return self.run_reference(inputs)
            raise JobFailed(f"onnxruntime refused: {_words(error)}") from None
        return _named([o.name for o in self._session.get_outputs()], outputs)

    def run_reference(self, inputs: Arrays) -> Arrays:
        """Runs the model in onnx's ReferenceEvaluator. It is slow on big models: the caller limits its time.

        Raises JobFailed with the evaluator's message.
        """
        try:
            if self._reference is None:
                model = onnx.load(self._path)
                self._reference = ReferenceEvaluator(model, new_ops=reference_patches.operators(model))
            outputs = self._reference.run(None, inputs)
        except Exception as error:  # operators raise errors of numpy, onnx or Python
            raise JobFailed(f"The reference evaluator refused: {_words(error)}") from None
        return _named([o.name for o in self._model.proto.graph.output], outputs)

    def blind_spots(self, cases: list[Arrays]) -> list[str]:
        """Returns warnings about branches and loop bodies that none of ``cases`` enters."""
        without_functions = not self._model.proto.functions
        if without_functions and not any(node.op_type in ("If", "Loop") for node in self._model.proto.graph.node):
            return []
        return onnx_unseen.unseen(onnx_files.inlined(onnx.load(self._path)), cases)

    def close(self) -> None:
        self._session = self._reference = None


@contextmanager
def _stopped(seconds: float) -> Iterator[onnxruntime.RunOptions | None]:
    """Yields RunOptions that terminate the run after ``seconds``; raises LimitExceeded then.

    onnxruntime checks the flag between two nodes, also inside a loop body.
    """
    if not seconds:
        yield None
        return
    run_options = onnxruntime.RunOptions()
    timer = threading.Timer(seconds, setattr, (run_options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        yield run_options
    except Exception:
        if run_options.terminate:
            raise LimitExceeded("time of one run", f"{seconds:g} s") from None
        raise
    finally:
        timer.cancel()


def _words(error: Exception) -> str:
    return clean(str(error)) or type(error).__name__


def _named(names: list[str], values: list[Any]) -> Arrays:
    for name, value in zip(names, values, strict=True):
        if not isinstance(value, np.ndarray | np.generic):
            raise JobFailed(f"The output {name[:100]!r} is a {type(value).__name__}; only tensors can be compared.")
    return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}
