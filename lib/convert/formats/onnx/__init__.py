"""ONNX and its variants: opset change, slimmed, float16, int8."""

from lib.convert.core.format import Format, Upload

MAIN, RUNNER = "model.onnx", "onnx.runner:OnnxRunner"
UPLOAD = Upload(wanted="ONNX", suffixes=(".onnx",), admit="onnx.admit:admit", beside=True)
FORMATS = (
    Format("onnx", "ONNX", MAIN, RUNNER, upload=UPLOAD, place=0),
    Format("onnx-opset", "ONNX, another opset", MAIN, RUNNER, base="onnx", place=14),
    Format("onnx-slim", "ONNX, slimmed", MAIN, RUNNER, base="onnx", place=13),
    Format("onnx-fp16", "ONNX, float16", MAIN, RUNNER, base="onnx", place=1, emulation="onnx_float16:fill"),
    Format(
        "onnx-int8-dynamic", "ONNX, int8 weights (dynamic)", MAIN, RUNNER, base="onnx", place=9, emulation="onnx_int8:fill"
    ),
    Format(
        "onnx-int8-static",
        "ONNX, int8 (static, calibrated)",
        MAIN,
        RUNNER,
        base="onnx",
        place=10,
        emulation="onnx_int8:fill",
    ),
)
