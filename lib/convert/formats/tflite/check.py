"""The check of an uploaded ``.tflite``, which ``lib/tflite`` shares with the inspector."""

from lib.tflite.flatbuffer import check_tflite

__all__ = ["check_tflite"]
