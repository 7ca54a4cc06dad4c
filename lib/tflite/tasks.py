"""What runs in the child process for whoever shows or edits metadata: JSON in and out (``lib/jobs.py``).

``path`` is the uploaded .tflite. Both functions give a dict:

    present      bool: whether the file has metadata; without, every field is empty and may be edited
    name, description, version, author, license     text, at most 10,000 characters
    labels       list of text, in the order of the output's scores; [] where there are none
    mean, std    lists of numbers, one each or one a channel each; [] where there are none
    inputs, outputs     lists, for the first graph, of
        name, description, content ("image RGB", "feature", ... or ""), range ([low, high] or None),
        shape (list; -1: free)
    files        list of {name, bytes}: associated files besides the labels
    problems     list of sentences: what a reader would stumble over
    fields       list of text: names that ``changes`` may have

``edit`` takes ``changes``, a dict by names of ``fields`` (labels, mean, std: lists), writes the whole file with them
to ``out`` (a path; what is there is replaced), and gives the dict of the new file. Values that are as before are
no change, so a form may send all of its fields back.
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
    "Mean and std were 0 and 1, and were changed. A file that says 0 and 1 takes pixels as they are; those made here have "
    "their normalization inside. Readers now normalize twice, and the answers are others."
)


def metadata(progress: Progress, path: str) -> dict[str, Any]:
    """Raises InvalidFile for a file, or metadata, that are damaged."""
    progress("Reading the metadata", 0.2)
    return _describe(path)


def edit(progress: Progress, path: str, changes: dict[str, Any], out: str) -> dict[str, Any]:
    """Raises InvalidFile as ``metadata`` does, InvalidValue for an unknown field or a value that does not fit."""
    if not isinstance(changes, dict) or not changes:
        raise InvalidValue("changes", changes, f"one or more of {', '.join(FIELDS)} with their new values")
    progress("Reading the metadata", 0.1)
    before = tflite_metadata.read(Path(path)) or tflite_metadata.blank(Path(path))
    after = tflite_metadata.edited(before, changes)
    progress("Writing the file", 0.4)
    tflite_metadata.write(Path(path), Path(out), after)
    progress("Reading it once more", 0.9)
    found = _describe(out)
    if _normalizes_inside(before) and not _normalizes_inside(after):
        found["problems"].append(INSIDE)
    return found


def _normalizes_inside(metadata: tflite_metadata.Metadata) -> bool:
    """It takes pixels as they are: whatever normalization there is, the graph has it."""
    return bool(metadata.mean) and set(metadata.mean) == {0.0} and set(metadata.std) == {1.0}


def _describe(path: str) -> dict[str, Any]:
    read = tflite_metadata.read(Path(path))
    found = read or tflite_metadata.blank(Path(path))
    return {
        "present": read is not None,
        **{name: _shortened(getattr(found, name)) for name in ("name", "description", "version", "author", "license")},
        **{name: list(getattr(found, name)) for name in ("labels", "mean", "std")},
        **{side: [_note(n) for n in getattr(found, side)[:MAX_NOTES]] for side in ("inputs", "outputs")},
        "files": [{"name": name, "bytes": len(data)} for name, data in found.files.items()],
        "problems": problems(found),
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
