"""``quantization`` of Model Maker: which TensorFlow Lite file ``ImageClassifier.export_model`` writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lib.errors import InvalidValue


@dataclass(frozen=True, slots=True)
class QuantizationConfig:
    """``target`` is a name of ``lib/train/edge/targets.py``. Made by ``for_float16`` or ``for_int8``."""

    target: str

    @classmethod
    def for_float16(cls) -> QuantizationConfig:
        """Weights in float16: half the size."""
        return cls("tflite-fp16")

    @classmethod
    def for_int8(cls, representative_data: Any = None, **others: Any) -> QuantizationConfig:
        """Weights and activations in int8, input and output float32: MediaPipe takes no other.

        The ranges come from the training pictures, some of each class, whatever ``representative_data`` is.
        """
        for name, given in others.items():
            raise InvalidValue(
                "for_int8", f"{name}={given!r}", "no more than representative_data; 200 pictures, float32 ends"
            )
        return cls("tflite-int8")

    @classmethod
    def for_dynamic(cls) -> QuantizationConfig:
        """Raises InvalidValue: such files were two to three times slower than float32 (docs/edge.md)."""
        raise InvalidValue("quantization_config", "for_dynamic", "for_int8() or for_float16(); None for float32")
