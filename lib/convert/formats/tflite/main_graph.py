"""Makes another subgraph of a TensorFlow Lite file its main one, for tools that ignore signatures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.tflite import file as tflite_file

INDEX = ("subgraphIndex", "SubgraphIndex", "subgraph")  # suffixes of operator options that hold a subgraph index


def with_main_graph(source: Path, target: Path, graph: int) -> None:
    """Writes a copy of the verified file ``source`` with subgraph ``graph`` swapped to index 0, without signatures."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(source.read_bytes(), 0)
    graphs = model.subgraphs
    graphs[0], graphs[graph] = graphs[graph], graphs[0]
    new_indices = {0: graph, graph: 0}
    for operator in (o for g in graphs for o in g.operators or ()):
        for options in (operator.builtinOptions, operator.builtinOptions2):
            for name, value in vars(options).items() if options is not None else ():
                if name.endswith(INDEX) and isinstance(value, int):
                    setattr(options, name, new_indices.get(value, value))
    model.signatureDefs = None
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), tflite_file.IDENTIFIER)
    target.write_bytes(builder.Output())
    tflite_file.read(target)
