"""Tasks that show and edit metadata in a child process, with JSON arguments and results (``lib/jobs.py``).

``path`` is the uploaded .tflite file. Both functions return a dict:

    present      bool: whether the file has metadata; if not, all fields are empty and can be edited
    name, description, version, author, license     text, at most 10,000 characters
    labels       list of text, in the order of the output's scores; [] if there are none
    mean, std    lists of numbers, one each or one per channel; [] if there are none
    inputs, outputs     lists, for the first graph, of
        name, description, content ("image RGB", "feature", ... or ""), range ([low, high] or None),
        shape (list; -1: dynamic)
    files        list of {name, bytes}: associated files except the labels
    problems     list of sentences: problems that readers would have
    fields       list of text: valid names in ``changes``

``edit`` takes ``changes``, a dict by names of ``fields`` (labels, mean, std: lists), writes the file with them to the
path ``out``, replacing an existing file, and returns the dict of the new file. Unchanged values are ignored, so a
form may send all of its fields.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.errors import InvalidValue
from lib.tflite import metadata as tflite_metadata
from lib.tflite.metadata_edit import FIELDS, MAX_TEXT
from lib.tflite.metadata_problems import problems

Progress = Callable[..., None]
MAX_NOTES = 1_000
INSIDE = (
    "Mean and std were 0 and 1 and were changed. A file with 0 and 1 takes raw pixels; files made here contain "
    "their normalization. Readers now normalize twice, and the answers change."
)


def metadata(progress: Progress, path: str) -> dict[str, Any]:
    """Returns the metadata. Raises InvalidFile if the file or its metadata are damaged."""
    progress("Reading the metadata", 0.2)
    return _describe(path)


def edit(progress: Progress, path: str, changes: dict[str, Any], out: str) -> dict[str, Any]:
    """Changes the metadata. Raises InvalidFile like ``metadata``, InvalidValue for unknown fields and invalid values."""
    if not isinstance(changes, dict) or not changes:
        raise InvalidValue("changes", changes, f"one or more of {', '.join(FIELDS)} with their new values")
    progress("Reading the metadata", 0.1)
    before = tflite_metadata.read(Path(path)) or tflite_metadata.blank(Path(path))
    after = tflite_metadata.edited(before, changes)
    progress("Writing the file", 0.4)
    tflite_metadata.write(Path(path), Path(out), after)
    progress("Reading it back", 0.9)
    answer = _describe(out)
    if _normalizes_inside(before) and not _normalizes_inside(after):
        answer["problems"].append(INSIDE)
    return answer


def _normalizes_inside(metadata: tflite_metadata.Metadata) -> bool:
    """Whether the file takes raw pixels: any normalization is part of the graph."""
    return bool(metadata.mean) and set(metadata.mean) == {0.0} and set(metadata.std) == {1.0}


def _describe(path: str) -> dict[str, Any]:
    existing = tflite_metadata.read(Path(path))
    current = existing or tflite_metadata.blank(Path(path))
    return {
        "present": existing is not None,
        **{name: _shortened(getattr(current, name)) for name in ("name", "description", "version", "author", "license")},
        **{name: list(getattr(current, name)) for name in ("labels", "mean", "std")},
        **{side: [_note(n) for n in getattr(current, side)[:MAX_NOTES]] for side in ("inputs", "outputs")},
        "files": [{"name": name, "bytes": len(data)} for name, data in current.files.items()],
        "problems": problems(current),
        "fields": list(FIELDS),
    }


def _note(note: tflite_metadata.TensorNote) -> dict[str, Any]:
    return {
        "name": _shortened(note.name),
        "description": _shortened(note.description),
        "content": note.content,
        "range": None if note.range is None else list(note.range),
        "shape": list(note.shape),
    }


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
