"""Metadata of TensorFlow Lite files: the face of this part. Call it in child processes only.

``read`` and ``write`` a file's, ``classifier`` makes what MediaPipe's ImageClassifier needs, ``edited`` changes fields
by name, ``blank`` is what to edit where a file has none. Write metadata last, after quantising.
"""

from __future__ import annotations

from lib.tflite.metadata_edit import classifier, edited
from lib.tflite.metadata_fields import Metadata, TensorNote
from lib.tflite.metadata_io import blank, read, write

__all__ = ["Metadata", "TensorNote", "blank", "classifier", "edited", "read", "write"]
