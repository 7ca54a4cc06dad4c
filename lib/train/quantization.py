"""Model Maker's ``quantization`` module: selects the TensorFlow Lite file that ``ImageClassifier.export_model`` writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lib.errors import InvalidValue


@dataclass(frozen=True, slots=True)
class QuantizationConfig:
    """``target`` is a name from ``lib/train/edge/targets.py``. Create it with ``for_float16`` or ``for_int8``."""

    target: str

    @classmethod
    def for_float16(cls) -> QuantizationConfig:
        """Returns a configuration for float16 weights: half the size."""
        return cls("tflite-fp16")

    @classmethod
    def for_int8(cls, representative_data: Any = None, **others: Any) -> QuantizationConfig:
        """Returns a configuration for int8 weights and activations with float32 input and output, as MediaPipe requires.

        ``representative_data`` is ignored: calibration uses training images of every class.
        """
        for name, value in others.items():
            raise InvalidValue(
                "for_int8", f"{name}={value!r}", "only representative_data; 200 pictures, float32 input and output"
            )
        return cls("tflite-int8")

    @classmethod
    def for_dynamic(cls) -> QuantizationConfig:
        """Raises InvalidValue: dynamic-range files were two to three times slower than float32 (docs/edge.md)."""
        raise InvalidValue("quantization_config", "for_dynamic", "for_int8() or for_float16(); None for float32")
