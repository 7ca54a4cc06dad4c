"""Whether onnxruntime's products of eight bits saturate on this machine. Asked of onnxruntime itself.

x86 processors without VNNI multiply unsigned by signed bytes and add two products in 16 bits, which overflow at
2 * 255 * 127. Weights of seven bits cannot; unsigned weights are not multiplied that way, but are slow: per channel 3.5
times as slow as float32 on EfficientNet-Lite0, where signed ones are 2.7 times as fast as float32.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx.parser
from onnx import numpy_helper

from lib.onnx_model.runtime import CPU, options

AUTOMATIC, SIGNED, SEVEN, UNSIGNED = "automatic", "int8", "int8 of 7 bits", "uint8"
WEIGHTS = (AUTOMATIC, SIGNED, SEVEN, UNSIGNED)
LEVELS = {SIGNED: 127, SEVEN: 64}  # the largest integer, which a weight's largest value becomes
ELSEWHERE = (
    "Signed weights may saturate on x86 processors without VNNI (Intel before 2019, AMD before Zen 4): set the session "
    'option session.x64quantprecision to "1" there, or choose weights of 7 bits.'
)
PROBE = """<ir_version: 8, opset_import: ["" : 13]>
g (uint8[1,64] x) => (int32[1,16] y) { y = MatMulInteger(x, w) }"""


@cache
def saturates() -> bool:
    import onnxruntime

    model = onnx.parser.parse_model(PROBE)
    model.graph.initializer.append(numpy_helper.from_array(np.full((64, 16), 127, np.int8), "w"))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options(), providers=CPU)
    (found,) = session.run(None, {"x": np.full((1, 64), 255, np.uint8)})
    return bool((found != 64 * 255 * 127).any())


def weights(choice: str) -> tuple[str, list[str]]:
    """What ``automatic`` is on this machine, and what to say."""
    if choice != AUTOMATIC:
        return choice, []
    if saturates():
        return SEVEN, ["Weights have 7 bits: this processor has no VNNI, and products of 8 bits would saturate."]
    return SIGNED, [ELSEWHERE]
