"""TensorFlow Lite and its variants: float16 weights, int8. ``lib/tflite`` reads the files."""

from lib.convert.core.format import Format, Upload

MAIN, RUNNER = "model.tflite", "tflite.runner:TfliteRunner"
UPLOAD = Upload(wanted=".tflite", suffixes=(".tflite",), magic=((4, b"TFL3"),), check="tflite.check:check_tflite")
ROUNDED = "tflite:fill"
FORMATS = (
    Format("tflite", "TensorFlow Lite", MAIN, RUNNER, upload=UPLOAD, place=3),
    Format("tflite-fp16", "TensorFlow Lite, float16 weights", MAIN, RUNNER, base="tflite", place=11, emulation=ROUNDED),
    Format("tflite-int8", "TensorFlow Lite, int8", MAIN, RUNNER, base="tflite", place=12, emulation=ROUNDED),
)
