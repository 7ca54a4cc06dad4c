"""Makes another graph of a TensorFlow Lite file its main one: tools that know no signatures convert that one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.tflite import file as tflite_file

INDEX = ("subgraphIndex", "SubgraphIndex", "subgraph")  # how options of operators that run a graph call its number


def with_main_graph(source: Path, target: Path, graph: int) -> None:
    """Writes the verified file ``source`` with ``graph`` in the first place, and without signatures."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(source.read_bytes(), 0)
    graphs = model.subgraphs
    graphs[0], graphs[graph] = graphs[graph], graphs[0]
    moved = {0: graph, graph: 0}
    for operator in (o for g in graphs for o in g.operators or ()):
        for options in (operator.builtinOptions, operator.builtinOptions2):
            for name, value in vars(options).items() if options is not None else ():
                if name.endswith(INDEX) and isinstance(value, int):
                    setattr(options, name, moved.get(value, value))
    model.signatureDefs = None
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), tflite_file.IDENTIFIER)
    target.write_bytes(builder.Output())
    tflite_file.read(target)
