"""Describes problems that readers of a TensorFlow Lite file's metadata would have. Independent of files."""

from __future__ import annotations

from collections import Counter
from typing import Any

from lib.tflite import labels, metadata_table
from lib.tflite.metadata_fields import Metadata

MAX_NAMED = 5


def problems(metadata: Metadata) -> list[str]:
    """Returns sentences, [] if there are no problems. Based on the behavior of mediapipe 1.2.3."""
    table = metadata_table.unpacked(metadata.rest) if metadata.rest else None
    return [*_files(metadata, table), *_labels(metadata, table), *_normalisation(metadata)]


def _files(metadata: Metadata, table: Any) -> list[str]:
    named = {metadata_table.text(file.name) for file in metadata_table.recorded(table)}
    label_entry = metadata_table.label_file(table) if table is not None else None
    sentences = []
    if label_entry is not None:
        name = metadata_table.text(label_entry[1].name)
        named.discard(name)
        if not metadata.labels:
            sentences.append(f"The labels are missing: the metadata names {name[:80]!r}, which the file does not contain.")
    missing = sorted(named - set(metadata.files))
    return sentences + (
        [f"The metadata names files that the file does not contain: {_first_few(missing)}."] if missing else []
    )


def _labels(metadata: Metadata, table: Any) -> list[str]:
    sentences = []
    expected = labels.label_count(table, [note.shape for note in metadata.outputs]) if table is not None else None
    if metadata.labels and expected not in (None, len(metadata.labels)):
        sentences.append(f"There are {len(metadata.labels):,} labels for the {expected:,} scores of the output.")
    duplicates = [label for label, count in Counter(metadata.labels).items() if count > 1 and label.strip()]
    if duplicates:
        sentences.append(f"Duplicate labels: {_first_few(duplicates)}.")
    empty = sum(not label.strip() for label in metadata.labels)
    return sentences + ([f"{empty:,} of {len(metadata.labels):,} labels are empty."] if empty else [])


def _normalisation(metadata: Metadata) -> list[str]:
    image = any(note.content.startswith("image") for note in metadata.inputs)
    if image and not metadata.mean and not metadata.std:
        return ["Mean and std are missing: MediaPipe opens such a file only if its input is uint8."]
    if len(metadata.mean) != len(metadata.std):
        return [f"The mean has {len(metadata.mean)} numbers and the std {len(metadata.std)}: MediaPipe rejects that."]
    if len(set(metadata.mean)) > 1 or len(set(metadata.std)) > 1:
        return ["Mean or std differ by channel: MediaPipe's image tasks reject that; other readers may not."]
    if any(value <= 0 for value in metadata.std):
        return ["A std is 0 or less: pictures are divided by it."]
    return []


def _first_few(names: list[str]) -> str:
    suffix = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(repr(name[:80]) for name in names[:MAX_NAMED]) + suffix
