"""Reads a checked model into a ``Graph``: converts attributes to Python and inlines functions, including operators' own."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto, TypeProto

from lib.convert.core.torch_values import from_numpy, to_numpy
from lib.convert.tools.onnx_importer import operators  # noqa: F401  fills the table
from lib.convert.tools.onnx_importer.graph import Graph, Node
from lib.convert.tools.onnx_importer.registry import TABLE
from lib.convert.tools.onnx_importer.unsupported import Unsupported
from lib.convert.tools.onnx_importer.values import MAX_ELEMENTS, Known, Value
from lib.onnx_model.open import Model, dtype_name

DEPTH = 8  # nesting of functions that is inlined


class Reader:
    """Converts a model's graphs; inlines its local functions first."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.proto = onnx.inliner.inline_local_functions(model.proto) if model.proto.functions else model.proto
        self.opsets = {_domain(o.domain): o.version for o in self.proto.opset_import}
        self._types: dict[str, TypeProto] | None = None
        self._made = 0

    def graph(self) -> Graph:
        """Returns the main graph. Raises Unsupported for sparse initializers and unknown dtypes."""
        return self._graph(self.proto.graph, self.opsets)

    def _graph(self, proto: GraphProto, opsets: dict[str, int]) -> Graph:
        if proto.sparse_initializer:
            raise Unsupported("sparse initializers")
        constants = {t.name: self._value(t) for t in proto.initializer}
        nodes: list[Node] = []
        for node in proto.node:
            nodes += self._nodes(node, opsets, 0)
        inputs = [v.name for v in proto.input if v.name not in constants]
        return Graph(inputs, [v.name for v in proto.output], nodes, constants)

    def _nodes(self, proto: NodeProto, opsets: dict[str, int], depth: int) -> list[Node]:
        """Returns the node itself, or the nodes of its function if the table lacks the operator."""
        domain = _domain(proto.domain)
        version = opsets.get(domain, 1)
        if (domain, proto.op_type) not in TABLE and depth < DEPTH:
            body = self._body(proto, domain, version)
            if body is not None:
                return self._inlined(proto, body, version, depth)
        attributes = {a.name: self._attribute(a, opsets) for a in proto.attribute}
        node = Node(proto.op_type, domain, version, proto.name, list(proto.input), list(proto.output), attributes)
        return [node]

    def _body(self, proto: NodeProto, domain: str, version: int) -> FunctionProto | None:
        try:
            schema = onnx.defs.get_schema(proto.op_type, version, domain)
        except onnx.defs.SchemaError:
            return None
        if schema.has_function:
            versions = [v for v in schema.function_opset_versions if v <= max(version, schema.since_version)]
            return FunctionProto.FromString(schema.get_function_with_opset_version(max(versions))) if versions else None
        if not schema.has_context_dependent_function:
            return None
        types = [self.types.get(name, TypeProto()).SerializeToString() for name in proto.input]
        versions = [v for v in schema.context_dependent_function_opset_versions if v <= max(version, schema.since_version)]
        if not versions:
            return None
        data = schema.get_context_dependent_function_with_opset_version(max(versions), proto.SerializeToString(), types)
        return FunctionProto.FromString(data) if data else None

    @property
    def types(self) -> dict[str, TypeProto]:
        """Inferred types by name, for functions whose body depends on the types of their inputs."""
        if self._types is None:
            self._types = {}
            _collect(onnx.shape_inference.infer_shapes(self.proto).graph, self._types)
        return self._types

    def _inlined(self, proto: NodeProto, body: FunctionProto, version: int, depth: int) -> list[Node]:
        self._made += 1
        prefix = f"{proto.op_type}.{self._made}/"
        names = {n: (proto.input[k] if k < len(proto.input) else "") for k, n in enumerate(body.input)}
        names |= {n: proto.output[k] for k, n in enumerate(body.output) if k < len(proto.output) and proto.output[k]}
        schema = onnx.defs.get_schema(proto.op_type, version, _domain(proto.domain))
        attributes = {name: a.default_value for name, a in schema.attributes.items() if a.default_value.name}
        attributes |= {a.name: a for a in body.attribute_proto} | {a.name: a for a in proto.attribute}
        # a body that states no opset of ai.onnx uses the model's, or else the newest
        opsets = {"": onnx.defs.onnx_opset_version()} | self.opsets
        opsets |= {_domain(o.domain): o.version for o in body.opset_import}
        out: list[Node] = []
        for node in body.node:
            out += self._nodes(_renamed(node, names, prefix, attributes), opsets, depth + 1)
        return out

    def _value(self, tensor: TensorProto) -> Value:
        try:
            array = from_numpy(self.model.array(tensor))
        except KeyError:
            raise Unsupported(f"values of dtype {dtype_name(tensor.data_type)}") from None
        return Known(to_numpy(array), array.dtype) if array.numel() <= MAX_ELEMENTS else array

    def _attribute(self, attribute: AttributeProto, opsets: dict[str, int]) -> Any:
        kind = attribute.type
        if kind == AttributeProto.TENSOR:
            return self._value(attribute.t)
        if kind == AttributeProto.GRAPH:
            return self._graph(attribute.g, opsets)
        if kind == AttributeProto.STRING:
            return attribute.s.decode(errors="replace")
        if kind == AttributeProto.STRINGS:
            return [s.decode(errors="replace") for s in attribute.strings]
        if kind in (AttributeProto.INT, AttributeProto.FLOAT):
            return onnx.helper.get_attribute_value(attribute)
        if kind in (AttributeProto.INTS, AttributeProto.FLOATS):
            return list(onnx.helper.get_attribute_value(attribute))
        if kind == AttributeProto.TENSORS:
            return [self._value(t) for t in attribute.tensors]
        return attribute


def _renamed(node: NodeProto, names: dict[str, str], prefix: str, given: dict[str, AttributeProto]) -> NodeProto:
    """Returns a node of a function's body with names unique in the whole graph and the caller's attributes."""
    out = NodeProto()
    out.CopyFrom(node)
    del out.input[:], out.output[:], out.attribute[:]
    out.input.extend(names.get(n, prefix + n) if n else "" for n in node.input)
    out.output.extend(names.get(n, prefix + n) if n else "" for n in node.output)
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            if attribute.ref_attr_name not in given:
                continue
            attribute_given = given[attribute.ref_attr_name]
            out.attribute.add().CopyFrom(attribute_given)
            out.attribute[-1].name = attribute.name
            continue
        out.attribute.add().CopyFrom(attribute)
        if attribute.type == AttributeProto.GRAPH:
            inner = out.attribute[-1].g
            del inner.node[:]
            inner.node.extend(_renamed(n, names, prefix, given) for n in attribute.g.node)
            for values in (inner.input, inner.output, inner.initializer):
                for value in values:
                    value.name = names.get(value.name, prefix + value.name)
    return out


def _collect(graph: GraphProto, into: dict[str, TypeProto]) -> None:
    for value in (*graph.input, *graph.value_info, *graph.output):
        into.setdefault(value.name, value.type)
    for tensor in graph.initializer:
        into.setdefault(tensor.name, onnx.helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims)))
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                _collect(attribute.g, into)


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain
