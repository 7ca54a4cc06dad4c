"""Preserves an ONNX file's metadata, which most tools drop.

Call ``of`` before a tool runs (some tools modify their input) and ``keep`` on the tool's output.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnx import ModelProto, ValueInfoProto

from lib.convert.formats.onnx.interface import copied

OF_MODEL = ("producer_name", "producer_version", "domain", "model_version", "doc_string")
OF_GRAPH = ("name", "doc_string")


@dataclass(frozen=True, slots=True)
class Metadata:
    """Metadata of an ONNX file, read by ``of``. ``training``: the number of ``training_info`` entries."""

    model: dict[str, str | int]
    properties: dict[str, str]
    graph: dict[str, str]
    graph_properties: dict[str, str]
    values: dict[str, ValueInfoProto]  # inputs and outputs that have a doc_string or metadata
    training: int

    def keep(self, made: ModelProto) -> list[str]:
        """Writes the metadata into ``made``, keeping properties that a tool added. Returns messages about losses."""
        for names, target in ((self.model, made), (self.graph, made.graph)):
            for name, value in names.items():
                setattr(target, name, value)
        for properties, target in ((self.properties, made), (self.graph_properties, made.graph)):
            existing = {p.key for p in target.metadata_props}
            for key, value in properties.items():
                if key not in existing:
                    target.metadata_props.add(key=key, value=value)
        for value in (*made.graph.input, *made.graph.output):
            if (original := self.values.get(value.name)) is not None:
                value.doc_string = original.doc_string
                del value.metadata_props[:]
                value.metadata_props.extend(original.metadata_props)
        del made.training_info[:]  # its graphs refer to weights and operators as they were before the conversion
        return ["The file's training part (training_info) was left out."] if self.training else []


def of(model: ModelProto) -> Metadata:
    """Reads the metadata of ``model``."""
    graph = model.graph
    return Metadata(
        model={name: getattr(model, name) for name in OF_MODEL if model.HasField(name)},
        properties={p.key: p.value for p in model.metadata_props},
        graph={name: getattr(graph, name) for name in OF_GRAPH if graph.HasField(name)},
        graph_properties={p.key: p.value for p in graph.metadata_props},
        values={v.name: copied(v) for v in (*graph.input, *graph.output) if v.doc_string or v.metadata_props},
        training=len(model.training_info),
    )
