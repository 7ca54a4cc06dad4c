"""An ONNX graph with plain Python attributes: what ``read`` makes and ``interpreter`` computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lib.convert.tools.onnx_importer.values import Value


@dataclass(slots=True)
class Node:
    op: str
    domain: str
    version: int  # of the domain's operator set
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]

    @property
    def words(self) -> str:
        return f"{self.op}{f' ({self.name[:60]})' if self.name else ''}"


@dataclass(slots=True)
class Graph:
    """``constants`` are names that hold in the whole graph; ``inputs`` without those that are initializers too."""

    inputs: list[str]
    outputs: list[str]
    nodes: list[Node]
    constants: dict[str, Value]
