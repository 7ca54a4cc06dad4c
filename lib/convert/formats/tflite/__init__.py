"""TensorFlow Lite, and its variants: float16 weights, int8. The file itself is read by ``lib/tflite``."""

from lib.convert.core.format import Format

FORMATS = (
    Format("tflite", "TensorFlow Lite", "model.tflite", "tflite.runner:TfliteRunner"),
    Format("tflite-fp16", "TensorFlow Lite, float16 weights", "model.tflite", "tflite.runner:TfliteRunner", base="tflite"),
    Format("tflite-int8", "TensorFlow Lite, int8", "model.tflite", "tflite.runner:TfliteRunner", base="tflite"),
)
