"""The metadata flatbuffer of a TensorFlow Lite file: verifies it and reads it into ``Metadata``.

Format: MediaPipe's metadata_schema.fbs, version 1.5.0, identifier M001. Loads only MediaPipe's generated module, since
its package would start the whole runtime.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from lib.errors import InvalidFile, InvalidValue, JobFailed
from lib.tflite.flatbuffer import DamagedFlatbuffer, Walk
from lib.tflite.metadata_fields import Metadata, TensorNote
from lib.tflite.metadata_schema import TABLES, UNIONS

IDENTIFIER, ENTRY = b"M001", "TFLITE_METADATA"
MAX_BYTES, MAX_PARTS = 16 << 20, 500_000
FEATURE, IMAGE, BOX, AUDIO = 1, 2, 3, 4  # ContentProperties
COLOURS = {1: "RGB", 2: "GRAYSCALE"}
NORMALISATION = 1  # ProcessUnitOptions
AXIS_LABELS, VALUE_LABELS = 2, 3  # AssociatedFileType
TEXTS = ("name", "description", "version", "author", "license")


@cache
def generated() -> ModuleType:
    """Returns MediaPipe's generated module of the schema. Raises JobFailed if MediaPipe is not installed."""
    package = importlib.util.find_spec("mediapipe")
    if package is None or not package.submodule_search_locations:
        raise JobFailed("Metadata requires MediaPipe, which is not installed here: pip install mediapipe.")
    name = "metadata_schema_py_generated"
    path = Path(package.submodule_search_locations[0]) / "tasks" / "metadata" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"lib.tflite.{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def unpacked(data: bytes) -> Any:
    """Verifies the table and returns it as a generated object (ModelMetadataT). Raises InvalidFile."""
    if len(data) > MAX_BYTES:
        raise InvalidFile(f"The metadata of the file has {len(data):,} bytes; at most {MAX_BYTES:,} are read.")
    try:
        Walk(data, len(data), tables=TABLES, unions=UNIONS, most=MAX_PARTS, unpacked=True).whole(IDENTIFIER, "ModelMetadata")
    except DamagedFlatbuffer as why:
        raise InvalidFile(f"The metadata of the TensorFlow Lite file is damaged: {why}.") from None
    return generated().ModelMetadataT.InitFromPackedBuf(data, 0)


def packed(table: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(table.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""


def graph(table: Any) -> Any:
    """Returns the SubGraphMetadataT of the first graph, or None."""
    return (table.subgraphMetadata or [None])[0]


def fields(table: Any) -> Metadata:
    """Returns everything but labels and files, which are stored outside the table."""
    first = graph(table)
    inputs = (first and first.inputTensorMetadata) or ()
    norm = normalisation(inputs)
    try:
        return Metadata(
            **{name: text(getattr(table, name)) for name in TEXTS},
            mean=() if norm is None or norm.mean is None else tuple(map(float, norm.mean)),
            std=() if norm is None or norm.std is None else tuple(map(float, norm.std)),
            inputs=tuple(note(t) for t in inputs),
            outputs=tuple(note(t) for t in (first and first.outputTensorMetadata) or ()),
        )
    except InvalidValue as error:
        raise InvalidFile(f"The metadata of the TensorFlow Lite file is damaged: {error.message}") from None


def normalisation(tensors: Any) -> Any:
    """Returns the first NormalizationOptionsT in the tensors' process units, or None."""
    for tensor in tensors:
        for unit in tensor.processUnits or ():
            if unit.optionsType == NORMALISATION and unit.options is not None:
                return unit.options
    return None


def note(tensor: Any) -> TensorNote:
    lows, highs = (tensor.stats.min, tensor.stats.max) if tensor.stats is not None else (None, None)
    complete = lows is not None and highs is not None and len(lows) and len(highs)
    ends = (float(min(lows)), float(max(highs))) if complete else (math.nan, math.nan)
    return TensorNote(
        name=text(tensor.name),
        description=text(tensor.description),
        content=content(tensor.content),
        range=ends if all(map(math.isfinite, ends)) else None,
    )


def content(found: Any) -> str:
    kind = 0 if found is None or found.contentProperties is None else found.contentPropertiesType
    if kind == IMAGE:
        return f"image {COLOURS.get(found.contentProperties.colorSpace, '')}".rstrip()
    return {FEATURE: "feature", BOX: "bounding box", AUDIO: "audio"}.get(kind, "")


def recorded(part: Any) -> list[Any]:
    """Returns every AssociatedFileT in the table."""
    if isinstance(part, list):
        return [file for item in part for file in recorded(item)]
    if isinstance(part, generated().AssociatedFileT):
        return [part]
    return recorded(list(vars(part).values())) if hasattr(part, "__dict__") else []


def label_file(table: Any) -> tuple[int, Any] | None:
    """Returns the first output that has labels, and the AssociatedFileT of its labels.

    Prefers a file without a locale.
    """
    first = graph(table)
    for file_type in (AXIS_LABELS, VALUE_LABELS):
        for k, tensor in enumerate((first and first.outputTensorMetadata) or ()):
            candidates = [f for f in tensor.associatedFiles or () if f.type == file_type and f.name]
            if candidates:
                return k, next((f for f in candidates if not f.locale), candidates[0])
    return None
