"""Metadata of TensorFlow Lite files: the public API. Call it in child processes only.

``read`` and ``write`` access a file's metadata, ``classifier`` creates those for MediaPipe's ImageClassifier,
``edited`` changes fields by name, and ``blank`` is the start for a file without metadata. Write metadata last, after
quantization.
"""

from __future__ import annotations

from lib.tflite.metadata_edit import classifier, edited
from lib.tflite.metadata_fields import Metadata, TensorNote
from lib.tflite.metadata_io import blank, read, write

__all__ = ["Metadata", "TensorNote", "blank", "classifier", "edited", "read", "write"]
