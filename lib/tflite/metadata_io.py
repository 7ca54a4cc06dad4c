"""Reads and writes metadata in TensorFlow Lite files. Parses untrusted files: call it in child processes only."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InvalidFile, InvalidValue, JobFailed
from lib.tflite import associated_files, labels, metadata_apply, metadata_table, repack
from lib.tflite import file as tflite_file
from lib.tflite.flatbuffer import check_tflite
from lib.tflite.metadata_fields import Metadata, TensorNote

SIDES = ("inputs", "outputs")


def read(path: Path) -> Metadata | None:
    """Returns the file's metadata, None if it has none. Raises InvalidFile for a damaged file or damaged metadata.

    There is a note for each input and output of the first graph, an empty one if the metadata have none.
    """
    model = _model(path)
    data = _entry(model)
    if data is None:
        return None
    table = metadata_table.unpacked(data)
    fields = metadata_table.fields(table)
    files = associated_files.read(path)
    notes = {side: _padded(getattr(fields, side), _tensors(model, side)) for side in SIDES}
    return replace(fields, labels=labels.pop_labels(table, files), files=files, rest=data, **notes)


def blank(path: Path) -> Metadata:
    """Returns metadata with only the names of the file's inputs and outputs, to be edited. Raises InvalidFile."""
    model = _model(path)
    return Metadata(
        **{
            side: [TensorNote(name=tensor["name"], shape=_shape(tensor)) for tensor in _tensors(model, side)]
            for side in SIDES
        }
    )


def write(source: Path, target: Path, metadata: Metadata) -> None:
    """Writes ``source`` with ``metadata`` to ``target``, which may be the same path. Replaces existing metadata.

    Quantize first: tools that change a model drop its associated files. Weights stored after the flatbuffer are moved
    into it. The result is read back and compared before it replaces ``target``. Raises InvalidFile; InvalidValue if
    the metadata do not fit the graph; JobFailed if the comparison fails.
    """
    model = _model(source)
    shapes = {side: [_shape(tensor) for tensor in _tensors(model, side)] for side in SIDES}
    for side in SIDES:
        notes = len(getattr(metadata, side))
        if notes != len(shapes[side]):
            raise InvalidValue(side, f"{notes} notes", f"{len(shapes[side])}, one for each of the graph's {side}")
    if (metadata.mean or metadata.std) and not shapes["inputs"]:
        raise InvalidValue("mean", list(metadata.mean), "none: the graph has no input")
    table = metadata_table.unpacked(metadata.rest) if metadata.rest else metadata_table.generated().ModelMetadataT()
    metadata_apply.apply_metadata(table, metadata)
    files = labels.record_labels(table, metadata, shapes["outputs"])
    expected_labels = labels.label_count(table, shapes["outputs"])
    if expected_labels not in (None, len(metadata.labels)) and not _has_as_many(source, metadata):
        raise InvalidValue(
            "the number of labels", len(metadata.labels), f"{expected_labels:,}, one for each score of the output"
        )
    parts = repack.unpack(source)
    repack.set_metadata_entry(parts, metadata_table.ENTRY, metadata_table.packed(table))
    unverified = target.with_name(f"{target.name}.new")
    repack.save(parts, unverified)
    associated_files.append(unverified, files)
    if read(unverified) != metadata:
        raise JobFailed("The metadata did not read back as it was written. Nothing was saved.")
    os.replace(unverified, target)


def _has_as_many(source: Path, metadata: Metadata) -> bool:
    """Whether there are as many labels as before.

    Allowed, since some of Google's own files have their labels at another output.
    """
    try:
        before = read(source)
    except InvalidFile:
        return False  # damaged metadata are replaced
    return before is not None and len(before.labels) == len(metadata.labels)


def _model(path: Path) -> dict[str, Any]:
    check_tflite(path)
    return tflite_file.read(path)


def _entry(model: dict[str, Any]) -> bytes | None:
    """Returns the bytes of the metadata's flatbuffer, None if the file has none."""
    for entry in model["metadata"]:
        if entry["name"] == metadata_table.ENTRY:
            buffer = model["buffers"][entry["buffer"]]
            if buffer["offset"] > 1:
                return np.frombuffer(model["whole"], np.uint8, buffer["size"], buffer["offset"]).tobytes()
            return buffer["data"].tobytes()
    return None


def _tensors(model: dict[str, Any], side: str) -> list[dict[str, Any]]:
    graph = model["subgraphs"][0]
    return [graph["tensors"][k] for k in graph[side]]


def _shape(tensor: dict[str, Any]) -> tuple[int, ...]:
    """Returns the shape, with -1 for dynamic axes."""
    signature = tensor["shape_signature"]
    return tuple(int(length) for length in (signature if len(signature) else tensor["shape"]))


def _padded(notes: tuple[TensorNote, ...], tensors: list[dict[str, Any]]) -> list[TensorNote]:
    """Returns a note with shape for each tensor."""
    padded = [*notes, *[TensorNote()] * len(tensors)][: len(tensors)]
    return [replace(note, shape=_shape(tensor)) for note, tensor in zip(padded, tensors, strict=True)]
