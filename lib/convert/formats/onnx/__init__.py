"""ONNX, and its variants: another opset, slimmed, float16, int8."""

from lib.convert.core.format import Format

FORMATS = (
    Format("onnx", "ONNX", "model.onnx", "onnx.runner:OnnxRunner"),
    Format("onnx-opset", "ONNX, another opset", "model.onnx", "onnx.runner:OnnxRunner", base="onnx"),
    Format("onnx-slim", "ONNX, slimmed", "model.onnx", "onnx.runner:OnnxRunner", base="onnx"),
    Format("onnx-fp16", "ONNX, float16", "model.onnx", "onnx.runner:OnnxRunner", base="onnx"),
    Format("onnx-int8-dynamic", "ONNX, int8 weights (dynamic)", "model.onnx", "onnx.runner:OnnxRunner", base="onnx"),
    Format("onnx-int8-static", "ONNX, int8 (static, calibrated)", "model.onnx", "onnx.runner:OnnxRunner", base="onnx"),
)
