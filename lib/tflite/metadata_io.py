"""Metadata read out of a TensorFlow Lite file, and written into one. Parses what visitors send: in child processes only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InvalidFile, InvalidValue
from lib.tflite import associated_files, metadata_table, repack
from lib.tflite import file as tflite_file
from lib.tflite.flatbuffer import check_tflite
from lib.tflite.metadata_fields import Metadata, TensorNote


def read(path: Path) -> Metadata | None:
    """The file's metadata; None where it has none. Raises InvalidFile for a damaged file, also for damaged metadata."""
    check_tflite(path)
    model = tflite_file.read(path)
    data = _entry(model)
    if data is None:
        return None
    table = metadata_table.unpacked(data)
    files = associated_files.read(path)
    found = metadata_table.fields(table)
    named = metadata_table.label_file(table)
    labels: tuple[str, ...] = ()
    if named is not None:
        name = metadata_table.text(named[1].name)
        if name not in files:
            raise InvalidFile(f"The metadata name a file of labels, {name[:80]!r}, that the TensorFlow Lite file lacks.")
        labels = lines(files.pop(name))
    inputs, outputs = _shapes(model)
    return replace(
        found,
        labels=labels,
        files=files,
        inputs=_shaped(found.inputs, inputs),
        outputs=_shaped(found.outputs, outputs),
        rest=data,
    )


def blank(path: Path) -> Metadata:
    """Metadata that say nothing, with the names and shapes of the file's inputs and outputs, to be filled in."""
    check_tflite(path)
    graph = tflite_file.read(path)["subgraphs"][0]
    inputs, outputs = (
        tuple(TensorNote(name=graph["tensors"][k]["name"], shape=_shape(graph["tensors"][k])) for k in graph[side])
        for side in ("inputs", "outputs")
    )
    return Metadata(inputs=inputs, outputs=outputs)


def write(source: Path, target: Path, metadata: Metadata) -> None:
    """Writes ``source`` to ``target`` with ``metadata``, in place of its own. Raises InvalidFile, InvalidValue.

    Quantise first: tools that change the model drop the associated files. Weights that lie behind the flatbuffer
    come inside. What was written is read back and compared.
    """
    check_tflite(source)
    inputs, outputs = _shapes(tflite_file.read(source))
    _fits("inputs", metadata.inputs, inputs)
    _fits("outputs", metadata.outputs, outputs)
    table = metadata_table.unpacked(metadata.rest) if metadata.rest else metadata_table.generated().ModelMetadataT()
    metadata_table.applied(table, metadata)
    files = dict(metadata.files)
    if metadata.labels:
        output, named = metadata_table.label_file(table)
        if named.type == metadata_table.AXIS_LABELS:
            _counted(metadata.labels, outputs[output])
        files[metadata_table.text(named.name)] = "".join(f"{label}\n" for label in metadata.labels).encode()
    repack.with_entry(source, target, metadata_table.ENTRY, metadata_table.packed(table))
    associated_files.append(target, files)
    assert read(target) == metadata, "what was written reads otherwise"


def lines(data: bytes) -> tuple[str, ...]:
    """The labels as MediaPipe reads them: a line each, the empty one at the end is none."""
    found = data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    return tuple(found[:-1] if not found[-1] else found)


def _entry(model: dict[str, Any]) -> bytes | None:
    for entry in model["metadata"]:
        if entry["name"] == metadata_table.ENTRY:
            if entry["buffer"] >= len(model["buffers"]):
                raise InvalidFile("The metadata of the TensorFlow Lite file are damaged: their buffer does not exist.")
            buffer = model["buffers"][entry["buffer"]]
            if buffer["offset"] > 1:
                return np.frombuffer(model["whole"], np.uint8, buffer["size"], buffer["offset"]).tobytes()
            return buffer["data"].tobytes() or None
    return None


def _shape(tensor: dict[str, Any]) -> tuple[int, ...]:
    free = tensor["shape_signature"]
    return tuple(int(d) for d in (free if len(free) else tensor["shape"]))


def _shapes(model: dict[str, Any]) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    graph = model["subgraphs"][0]
    return [_shape(graph["tensors"][k]) for k in graph["inputs"]], [_shape(graph["tensors"][k]) for k in graph["outputs"]]


def _shaped(notes: tuple[TensorNote, ...], shapes: list[tuple[int, ...]]) -> tuple[TensorNote, ...]:
    return tuple(replace(n, shape=shapes[k]) if k < len(shapes) else n for k, n in enumerate(notes))


def _fits(side: str, notes: tuple[TensorNote, ...], shapes: list[tuple[int, ...]]) -> None:
    if len(notes) != len(shapes):
        raise InvalidValue(side, f"{len(notes)} notes", f"one for each of the graph's {len(shapes)} {side}")


def _counted(labels: tuple[str, ...], shape: tuple[int, ...]) -> None:
    if shape and shape[-1] not in (-1, len(labels)):
        raise InvalidValue("labels", f"{len(labels)} labels", f"{shape[-1]}, one for each score of the output")
