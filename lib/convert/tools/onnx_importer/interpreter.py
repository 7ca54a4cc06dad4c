"""An ONNX graph as a ``torch.nn.Module``: initializers become buffers, nodes run in order with torch operators.

``torch.export`` traces through it, so that the exported graph contains plain torch operators. Values that do not depend
on the inputs are computed once, at construction. Some values must be known to Python although they depend on input values
(a Reshape to a shape that is an input, the condition of an If); these are read from the tensors. During export that is only
possible with a ``tape`` of the values from a run on sample inputs, and the program gets an assertion for each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from lib.convert.core.torch_values import from_numpy, to_numpy
from lib.convert.tools.onnx_importer import arithmetic
from lib.convert.tools.onnx_importer.graph import Graph, Node
from lib.convert.tools.onnx_importer.registry import TABLE
from lib.convert.tools.onnx_importer.unsupported import Unsupported
from lib.convert.tools.onnx_importer.values import MAX_ELEMENTS, Known, Value, as_tensor
from lib.onnx_model.open import Model

NEVER_FOLDED = {"RandomUniform", "RandomNormal", "RandomUniformLike", "RandomNormalLike", "Bernoulli", "Multinomial"}


class Call:
    """The node that an operator's function computes, with access to its attributes and input values."""

    def __init__(self, module: Interpreter, node: Node, scope: Scope) -> None:
        self.module, self.node, self.scope = module, node, scope
        self.version, self.outputs = node.version, node.outputs

    def attr(self, name: str, default: Any = None) -> Any:
        return self.node.attributes.get(name, default)

    def wants(self, k: int) -> bool:
        """Whether output ``k`` is used."""
        return k < len(self.outputs) and bool(self.outputs[k])

    def numbers(self, value: Value) -> np.ndarray:
        """Returns the values as known to Python; an object array if sizes of dynamic dimensions are among them."""
        if isinstance(value, Known):
            return value.array
        return self.module.read(value, self.node)

    def ints(self, value: Value) -> list[Any]:
        """Returns the flattened values as ints or symbolic ints."""
        return [v if isinstance(v, torch.SymInt) else int(v) for v in self.numbers(value).reshape(-1)]

    def number(self, value: Value) -> Any:
        """Returns the only element as a Python number or symbol."""
        (element,) = self.numbers(value).reshape(-1)
        return element.item() if isinstance(element, np.generic) else element

    def either(self, name: str, value: Value) -> list[Any] | None:
        """Returns integers that older opsets have in the attribute ``name`` and newer ones in an input."""
        if value is not None:
            return self.ints(value)
        stored = self.attr(name)
        return [stored] if isinstance(stored, int) else stored

    def fail(self, why: str) -> Unsupported:
        """Returns the error to raise, with the node's operator and name."""
        return Unsupported(f"{self.node.words}: {why}")


Scope = dict[str, Value]


class Interpreter(torch.nn.Module):
    """Computes an ONNX model with torch. Takes inputs by position and returns a tuple, both in the graph's order."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        from lib.convert.tools.onnx_importer.read import Reader

        self.tape: list[np.ndarray] | None = None  # results of ``read`` in order, while recording
        self.replay: list[np.ndarray] | None = None
        self.playing: Iterator[np.ndarray] | None = None
        self.decided_by: list[str] = []  # operators whose input values were read
        self._buffers_by_name: dict[str, str] = {}
        self.graph = Reader(model).graph()
        self._fold(self.graph)
        self._register(self.graph)

    @contextmanager
    def playing_from(self, inputs: Sequence[torch.Tensor]) -> Iterator[None]:
        """Makes ``read`` return its results for these inputs, and assert in the program that the values are equal."""
        self.tape, self.decided_by = [], []
        self(*inputs)
        tape, self.tape = self.tape, None
        self.replay = tape
        try:
            yield
        finally:
            self.replay = self.playing = None

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.playing = None if self.replay is None else iter(self.replay)
        scope: Scope = dict(zip(self.graph.inputs, inputs, strict=True))
        return tuple(_output(v, name) for v, name in zip(self.run(self.graph, scope), self.graph.outputs, strict=True))

    def run(self, graph: Graph, scope: Scope) -> list[Value]:
        """Returns the graph's outputs. ``scope`` holds its inputs and the values of enclosing graphs."""
        scope |= self._constants(graph)
        for node in graph.nodes:
            self._compute(node, scope)
        missing = [name for name in graph.outputs if name not in scope]
        if missing:
            raise Unsupported(f"nothing computes the output {missing[0]!r}")
        return [scope[name] for name in graph.outputs]

    def read(self, tensor: torch.Tensor, node: Node) -> np.ndarray:
        """Reads a tensor that Python must know (see the module docstring). Raises Unsupported if exported without a tape."""
        if self.playing is not None:  # exporting from a sample
            value = next(self.playing, None)
            if value is not None:
                if not value.size:  # there are no values to compare
                    return value
                expected = from_numpy(value)
                same = (tensor == expected) | ((tensor != tensor) & (expected != expected))
                torch.ops.aten._assert_async.msg(same.all(), f"{node.op}: exported for other values of this input")
                return value
        if torch.compiler.is_exporting() or isinstance(tensor, torch._subclasses.FakeTensor):
            raise Unsupported(
                f"{node.words} takes its shape, axes or condition from a value that depends on the inputs' values; an "
                "exported program must know it in advance"
            )
        value = to_numpy(tensor)
        self.decided_by.append(node.op)
        if self.tape is not None:
            self.tape.append(np.array(value))
        return value

    def _compute(self, node: Node, scope: Scope) -> None:
        try:
            inputs = [scope[name] if name else None for name in node.inputs]
        except KeyError as error:
            raise Unsupported(f"{node.words}: nothing computes its input {str(error)[:80]}") from None
        call = Call(self, node, scope)
        out = arithmetic.on_known(call, inputs)
        if out is None:
            operator = TABLE.get((node.domain, node.op))
            if operator is None:
                raise Unsupported(f"unsupported operator {node.domain + '::' if node.domain else ''}{node.op}")
            if operator.raw is not True:
                inputs = [v if k in operator.raw else as_tensor(v) for k, v in enumerate(inputs)]  # type: ignore[operator]
            out = operator.function(call, *inputs)
        values = out if isinstance(out, tuple) else (out,)
        if len(values) < len(node.outputs):
            raise Unsupported(f"{node.words}: only {len(values)} of its {len(node.outputs)} outputs")
        scope |= {name: v for name, v in zip(node.outputs, values, strict=False) if name}

    def _fold(self, graph: Graph) -> None:
        """Replaces every node whose inputs are all constant with its outputs, in place."""
        remaining = []
        for node in graph.nodes:
            inside = [g for v in node.attributes.values() for g in _graphs(v)]
            if inside or node.op in NEVER_FOLDED or not all(not n or n in graph.constants for n in node.inputs):
                remaining.append(node)
                for subgraph in inside:
                    self._fold(subgraph)
                continue
            scope = {name: graph.constants[name] for name in node.inputs if name}
            with torch.no_grad():
                self._compute(node, scope)
            if any(not isinstance(scope[n], torch.Tensor | Known) for n in node.outputs if n):
                remaining.append(node)  # a sequence is built at run time
                continue
            graph.constants |= {name: _small(scope[name]) for name in node.outputs if name}
        graph.nodes = remaining

    def _register(self, graph: Graph) -> None:
        """Registers constants that a node or an output uses as buffers, and drops the others."""
        used = {n for node in graph.nodes for n in node.inputs} | set(graph.outputs) | set(_free(graph))
        graph.constants = {name: value for name, value in graph.constants.items() if name in used}
        for name, value in graph.constants.items():
            if isinstance(value, Known) and not value.array.size:
                continue
            buffer = f"c{len(self._buffers_by_name)}"
            self._buffers_by_name[f"{id(graph)} {name}"] = buffer
            self.register_buffer(buffer, as_tensor(value))
        for node in graph.nodes:
            for subgraph in (g for v in node.attributes.values() for g in _graphs(v)):
                self._register(subgraph)

    def _constants(self, graph: Graph) -> Scope:
        out: Scope = {}
        for name, value in graph.constants.items():
            buffer_name = self._buffers_by_name.get(f"{id(graph)} {name}")
            tensor = getattr(self, buffer_name) if buffer_name else None
            out[name] = Known(value.array, value.dtype, tensor) if isinstance(value, Known) else tensor
        return out


def _small(value: Value) -> Value:
    """Returns small tensors as ``Known``, others unchanged."""
    if isinstance(value, torch.Tensor) and value.numel() <= MAX_ELEMENTS:
        return Known(to_numpy(value), value.dtype)
    return value


def _output(value: Value, name: str) -> torch.Tensor:
    value = as_tensor(value)
    if not isinstance(value, torch.Tensor):
        raise Unsupported(f"the output {name[:80]!r} is a sequence or an empty optional")
    return value


def _graphs(attribute: Any) -> list[Graph]:
    return [attribute] if isinstance(attribute, Graph) else []


def _free(graph: Graph) -> Iterator[str]:
    """Yields the names that subgraphs may take from this graph."""
    for node in graph.nodes:
        for inner in (g for v in node.attributes.values() for g in _graphs(v)):
            yield from (n for node_inside in inner.nodes for n in node_inside.inputs)
            yield from inner.outputs
            yield from _free(inner)
