"""Operators that onnx's ReferenceEvaluator (1.23) gets wrong for older opsets, put right by the operators' own text.

Without these, a picture classifier exported at opset 9 to 12 seems to disagree with onnxruntime, which is right.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto
from onnx.reference.op_run import OpRun
from onnx.reference.ops import op_batch_normalization, op_dequantize_linear, op_hardmax, op_log_softmax, op_softmax

from lib.onnx_model import reference_broadcast


class BatchNormalization(op_batch_normalization.BatchNormalization_9):
    """Opset 7 to 13: five outputs mean training, one means inference. onnx always trains (onnx/onnx#8442)."""

    op_domain = ""
    op_schema = onnx.defs.get_schema("BatchNormalization", 9)

    def _run(self, x: Any, scale: Any, bias: Any, mean: Any, var: Any, epsilon: Any = None, momentum: Any = None, **_: Any):
        if sum(map(bool, self.output)) == 1:
            momentum = None  # onnx's own sign for inference
        return super()._run(x, scale, bias, mean, var, epsilon=epsilon, momentum=momentum)


class DequantizeLinear(op_dequantize_linear.DequantizeLinear_19):
    """Opset 10 to 18, which onnx leaves out; 19 only added float8."""

    op_domain = ""
    op_schema = onnx.defs.get_schema("DequantizeLinear", 13)


class _Flat:
    """Until opset 12 the input is taken as a matrix, split at ``axis`` (1 by default), and each row is worked on."""

    op_domain = ""

    def _run(self, x: np.ndarray, axis: int | None = None) -> tuple[np.ndarray]:
        axis = (self.axis if axis is None else axis) % max(x.ndim, 1)  # type: ignore[attr-defined]
        if x.size == 0:
            return (x,)
        self.axis = 1
        try:
            (out,) = super()._run(x.reshape(prod(x.shape[:axis]), -1))  # type: ignore[misc]
        finally:
            self.axis = axis
        return (out.reshape(x.shape),)


class Softmax(_Flat, op_softmax.Softmax):
    op_schema = onnx.defs.get_schema("Softmax", 11)


class LogSoftmax(_Flat, op_log_softmax.LogSoftmax):
    op_schema = onnx.defs.get_schema("LogSoftmax", 11)


class Hardmax(_Flat, op_hardmax.Hardmax):
    op_schema = onnx.defs.get_schema("Hardmax", 11)


def operators(model: ModelProto) -> list[type[OpRun]]:
    """Those that this model's opset needs, for ``ReferenceEvaluator(new_ops=...)``."""
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    older: list[type[OpRun]] = [BatchNormalization] * (7 <= opset <= 13) + [DequantizeLinear] * (10 <= opset <= 18)
    if 1 <= opset <= 6:
        older += reference_broadcast.operators(opset)
    return older + [Softmax, LogSoftmax, Hardmax] * (opset <= 12)
