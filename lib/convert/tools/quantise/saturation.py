"""Detects whether onnxruntime's 8-bit products saturate on this machine, by running one.

x86 processors without VNNI multiply unsigned by signed bytes and add two products in 16 bits: 2 * 255 * 127
overflows. 7-bit weights cannot overflow. Unsigned weights use other instructions but are slow: per channel,
EfficientNet-Lite0 takes 3.5 times as long as in float32, while signed weights are 2.7 times as fast as float32.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx.parser
from onnx import numpy_helper

from lib.onnx_model.runtime import CPU, options

AUTOMATIC, SIGNED, SEVEN, UNSIGNED = "automatic", "int8", "int8 of 7 bits", "uint8"
WEIGHTS = (AUTOMATIC, SIGNED, SEVEN, UNSIGNED)
LEVELS = {SIGNED: 127, SEVEN: 64}  # largest integer, to which a weight's largest value is mapped
ELSEWHERE = (
    "Signed weights may saturate on x86 processors without VNNI (Intel before 2019, AMD before Zen 4): set the session "
    'option session.x64quantprecision to "1" there, or choose weights of 7 bits.'
)
PROBE = """<ir_version: 8, opset_import: ["" : 13]>
g (uint8[1,64] x) => (int32[1,16] y) { y = MatMulInteger(x, w) }"""


@cache
def saturates() -> bool:
    """Whether a product of the largest bytes comes out wrong in onnxruntime."""
    import onnxruntime

    model = onnx.parser.parse_model(PROBE)
    model.graph.initializer.append(numpy_helper.from_array(np.full((64, 16), 127, np.int8), "w"))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options(), providers=CPU)
    (result,) = session.run(None, {"x": np.full((1, 64), 255, np.uint8)})
    return bool((result != 64 * 255 * 127).any())


def weights(choice: str) -> tuple[str, list[str]]:
    """Resolves ``automatic`` for this machine; returns (kind of weights, messages)."""
    if choice != AUTOMATIC:
        return choice, []
    if saturates():
        return SEVEN, ["Weights have 7 bits: this processor has no VNNI, and 8-bit products would saturate."]
    return SIGNED, [ELSEWHERE]
