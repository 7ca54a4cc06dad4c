"""Runs TensorFlow Lite artifacts with the runner of ``lib/tflite``."""

from __future__ import annotations

from pathlib import Path

from lib.convert.core import signatures
from lib.errors import InvalidFile
from lib.tflite import file as tflite_file
from lib.tflite.runner import Runner


class TfliteRunner(Runner):
    """Runs every signature of ``model.tflite``, or the one that was chosen (``lib/convert/core/signatures.py``)."""

    def __init__(self, folder: Path) -> None:
        path = folder / tflite_file.NAME
        if not path.is_file():
            raise InvalidFile(f"There is no {tflite_file.NAME} in this artifact.")
        super().__init__(path, signatures.chosen(folder))
