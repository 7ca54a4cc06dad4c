"""Arithmetic of opset 6 and older for onnx's ReferenceEvaluator, which knows it as of opset 7 only.

``broadcast`` 1 fits the second input to the first one's last dimensions, or to those from ``axis`` on.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx.reference.op_run import OpRun

FUNCTIONS = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
    "Greater": np.greater,
    "Less": np.less,
    "Equal": np.equal,
}


class _Old(OpRun):
    op_domain = ""

    def _run(
        self,
        a: np.ndarray,
        b: np.ndarray,
        axis: int | None = None,
        broadcast: int | None = None,
        consumed_inputs: list[int] | None = None,
    ) -> tuple[np.ndarray]:
        if broadcast and axis is not None:
            b = b.reshape(b.shape + (1,) * (a.ndim - axis % max(a.ndim, 1) - b.ndim))
        function = FUNCTIONS[type(self).__name__]
        if function is np.divide and a.dtype.kind in "iu":
            function = np.floor_divide  # type: ignore[assignment]
        out = function(a, b)
        return (out if out.dtype == bool else out.astype(a.dtype),)


def operators(opset: int) -> list[type[OpRun]]:
    """One class an operator, of the version that ``opset`` (1 to 6) has."""
    return [type(name, (_Old,), {"op_schema": onnx.defs.get_schema(name, opset, "")}) for name in FUNCTIONS]
