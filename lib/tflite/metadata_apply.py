"""Applies a ``Metadata`` to the metadata table of a TensorFlow Lite file. Does not validate values."""

from __future__ import annotations

from typing import Any

from lib.tflite import metadata_table
from lib.tflite.metadata_fields import Metadata, TensorNote

OLDEST_PARSER = "1.0.0"  # sufficient for the fields of ``Metadata``


def apply_metadata(table: Any, metadata: Metadata) -> None:
    """Changes the fields of ``table`` that differ in ``metadata``.

    Other fields stay, since ``table`` may contain more than ``Metadata`` represents.
    """
    schema, before = metadata_table.generated(), metadata_table.fields(table)
    for name in metadata_table.TEXTS:
        if getattr(metadata, name) != getattr(before, name):
            setattr(table, name, getattr(metadata, name))
    if table.subgraphMetadata is None or not len(table.subgraphMetadata):
        table.subgraphMetadata = [schema.SubGraphMetadataT()]
    first = metadata_table.graph(table)
    first.inputTensorMetadata = _write_note(first.inputTensorMetadata, metadata.inputs)
    first.outputTensorMetadata = _write_note(first.outputTensorMetadata, metadata.outputs)
    if (metadata.mean, metadata.std) != (before.mean, before.std):
        _write_normalization(first.inputTensorMetadata, metadata)
    table.minParserVersion = table.minParserVersion or OLDEST_PARSER


def record_label_file(table: Any, output: int, name: str) -> None:
    """Records a label file called ``name`` for an output."""
    file = metadata_table.generated().AssociatedFileT()
    file.name, file.type = name, metadata_table.AXIS_LABELS
    file.description = "One label per line, in the order of the output's last axis."
    tensor = metadata_table.graph(table).outputTensorMetadata[output]
    tensor.associatedFiles = [*(tensor.associatedFiles or ()), file]


def _write_note(tensors: Any, notes: tuple[TensorNote, ...]) -> list[Any]:
    schema = metadata_table.generated()
    tensors = list(tensors or ())[: len(notes)]
    tensors += [schema.TensorMetadataT() for _ in range(len(notes) - len(tensors))]
    for tensor, target in zip(tensors, notes, strict=True):
        before = metadata_table.note(tensor)
        for name in ("name", "description"):
            if getattr(target, name) != getattr(before, name):
                setattr(tensor, name, getattr(target, name))
        if target.content != before.content:
            tensor.content = _content(target.content)
        if target.range != before.range:
            tensor.stats = None
            if target.range is not None:
                tensor.stats = schema.StatsT()
                tensor.stats.min, tensor.stats.max = [target.range[0]], [target.range[1]]
    return tensors


def _content(text: str) -> Any:
    schema = metadata_table.generated()
    kind, _, colour = text.partition(" ")
    number, properties = {
        "image": (metadata_table.IMAGE, schema.ImagePropertiesT),
        "feature": (metadata_table.FEATURE, schema.FeaturePropertiesT),
        "bounding": (metadata_table.BOX, schema.BoundingBoxPropertiesT),
        "audio": (metadata_table.AUDIO, schema.AudioPropertiesT),
    }.get(kind, (0, None))
    if properties is None:
        return None
    content = schema.ContentT()
    content.contentPropertiesType, content.contentProperties = number, properties()
    if number == metadata_table.IMAGE:
        content.contentProperties.colorSpace = {v: k for k, v in metadata_table.COLOURS.items()}.get(colour, 0)
    return content


def _write_normalization(tensors: list[Any], metadata: Metadata) -> None:
    schema, options = metadata_table.generated(), metadata_table.normalisation(tensors)
    if options is None:
        unit, options = schema.ProcessUnitT(), schema.NormalizationOptionsT()
        unit.optionsType, unit.options = metadata_table.NORMALISATION, options
        pictures = [t for t in tensors if metadata_table.content(t.content).startswith("image")]
        tensor = (pictures or tensors)[0]
        tensor.processUnits = [*(tensor.processUnits or ()), unit]
    options.mean, options.std = list(metadata.mean), list(metadata.std)
