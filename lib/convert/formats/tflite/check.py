"""Re-exports the check of an uploaded ``.tflite`` from ``lib/tflite``, which shares it with the inspector."""

from lib.tflite.flatbuffer import check_tflite

__all__ = ["check_tflite"]
