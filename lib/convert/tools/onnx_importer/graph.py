"""An ONNX graph with plain Python attributes, built by ``read`` and executed by ``interpreter``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lib.convert.tools.onnx_importer.values import Value


@dataclass(slots=True)
class Node:
    """One operator call. An absent optional input or output has the name ""."""

    op: str
    domain: str
    version: int  # opset of the domain
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]

    @property
    def words(self) -> str:
        """The operator, with the node's name if it has one, for messages."""
        return f"{self.op}{f' ({self.name[:60]})' if self.name else ''}"


@dataclass(slots=True)
class Graph:
    """A graph or subgraph. ``constants``: values by name; ``inputs``: names without those that are also initializers."""

    inputs: list[str]
    outputs: list[str]
    nodes: list[Node]
    constants: dict[str, Value]
