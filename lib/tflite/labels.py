"""Labels of an output: an associated text file with one label per line, recorded in the metadata."""

from __future__ import annotations

from typing import Any

from lib.errors import InvalidFile, InvalidValue
from lib.tflite import metadata_apply, metadata_table
from lib.tflite.metadata_fields import Metadata

NAME = "labels.txt"
MAX_BYTES, MAX_LINES = 8 << 20, 100_000
Shapes = list[tuple[int, ...]]


def pop_labels(table: Any, files: dict[str, bytes]) -> tuple[str, ...]:
    """Removes the label file from ``files`` and returns its labels, () if there is none. Raises InvalidFile."""
    label_entry = metadata_table.label_file(table)
    name = "" if label_entry is None else metadata_table.text(label_entry[1].name)
    return parse_labels(files.pop(name)) if name in files else ()


def parse_labels(data: bytes) -> tuple[str, ...]:
    """Parses labels like MediaPipe: ignores an empty last line, and keeps spaces."""
    rows = data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n", MAX_LINES + 1)
    if len(data) > MAX_BYTES or len(rows) > MAX_LINES + 1:
        raise InvalidFile(f"The file of labels has {len(data):,} bytes; at most {MAX_LINES:,} labels are read.")
    return tuple(rows[:-1] if not rows[-1] else rows)


def record_labels(table: Any, metadata: Metadata, shapes: Shapes) -> dict[str, bytes]:
    """Records the label file in ``table`` and returns all files by name.

    The labels belong to the output that has labels already, else to the first whose last axis fits. Raises
    InvalidValue if a label is not a single line.
    """
    if not metadata.labels:
        return dict(metadata.files)
    label_entry = metadata_table.label_file(table)
    if label_entry is None:
        metadata_apply.record_label_file(table, _output(len(metadata.labels), shapes), _free(metadata.files))
        label_entry = metadata_table.label_file(table)
    assert label_entry is not None
    file = label_entry[1]
    if not _plain(metadata_table.text(file.name)):
        file.name = _free(metadata.files)
    data = "".join(f"{label}\n" for label in metadata.labels).encode("utf-8", "replace")
    if parse_labels(data) != metadata.labels:
        wrong = next(
            (label for label in metadata.labels if parse_labels(f"{label}\n".encode("utf-8", "replace")) != (label,)), ""
        )
        raise InvalidValue("a label", wrong, "one line of text: the file has one label per line")
    return metadata.files | {metadata_table.text(file.name): data}


def label_count(table: Any, shapes: Shapes) -> int | None:
    """Returns the number of labels that the labelled output needs.

    None if its size is dynamic or the labels are of another type.
    """
    label_entry = metadata_table.label_file(table)
    if label_entry is None or label_entry[1].type != metadata_table.AXIS_LABELS:
        return None
    last = shapes[label_entry[0]][-1] if shapes[label_entry[0]] else 1
    return None if last == -1 else last


def _output(count: int, shapes: Shapes) -> int:
    """Returns the output whose last axis has ``count`` entries, or the first one."""
    if not shapes:
        raise InvalidValue("labels", f"{count:,} labels", "none: the graph has no output")
    return next((k for k, shape in enumerate(shapes) if shape and shape[-1] == count), 0)


def _free(files: dict[str, bytes]) -> str:
    """Returns an unused name for the label file."""
    taken = {name.casefold() for name in files}
    return next(name for k in range(1, len(files) + 2) if (name := NAME if k == 1 else f"labels-{k}.txt") not in taken)


def _plain(name: str) -> bool:
    parts = name.split("/")
    return (
        len(name) <= 200
        and all(p not in ("", ".", "..") for p in parts)
        and not any(c in '\\:*?"<>|' or ord(c) < 32 or ord(c) >= 127 for c in name)
    )
