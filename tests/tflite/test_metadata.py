"""Metadata written into files and read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lib.tflite import metadata as tflite_metadata
from tests.convert.tflite_models import dense

LABELS = ("cat", "dog", "Zebrafuß 🦓", "dog")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return dense(tmp_path / "a")[0] / "model.tflite"


def test_what_is_written_is_read(source: Path, tmp_path: Path) -> None:
    assert tflite_metadata.read(source) is None
    written = tflite_metadata.classifier(LABELS, name="Pets", author="Ann", license="MIT", mean=[127, 128, 1], std=[3])
    written = replace(written, files={"notes.txt": b"read me"})
    tflite_metadata.write(source, tmp_path / "b.tflite", written)
    assert tflite_metadata.read(tmp_path / "b.tflite") == written
