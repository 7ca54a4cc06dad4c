"""Small models for tests: from ONNX text or a ModelProto to an opened Model or a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from lib.onnx_inspect import graph, shapes
from lib.onnx_inspect.lints import Subject
from lib.onnx_inspect.summary import summarise
from lib.onnx_model.open import Model, open_model

HEAD = '<ir_version: 10, opset_import: ["" : 23, "com.microsoft" : 1, "local" : 1]>\n'


def parsed(text: str) -> ModelProto:
    """``text`` is ONNX text; without a head of its own it gets opset 23."""
    return onnx.parser.parse_model(text if text.startswith("<") else HEAD + text)


def opened(source: ModelProto | str, folder: Path, externals: dict[str, Path] | None = None) -> Model:
    proto = parsed(source) if isinstance(source, str) else source
    folder.mkdir(exist_ok=True)
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return open_model(path, externals or {})


def report(source: ModelProto | str, folder: Path, **symbols: int) -> dict[str, Any]:
    return summarise(opened(source, folder), "model.onnx", symbols, folder).as_dict()


def subject(source: ModelProto | str, folder: Path, externals: dict[str, Path] | None = None) -> Subject:
    """What the lints look at."""
    model = opened(source, folder, externals)
    inferred = shapes.infer(model, graph.inlined(model.proto), folder)
    return Subject(model, inferred, graph.nodes(inferred))
