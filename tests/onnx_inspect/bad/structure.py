"""Graphs that cannot be: cycles, recursion, names, versions, and protobuf's own freedoms."""

from __future__ import annotations

import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, parser

from lib.onnx_model.wire import _encode, _tag
from tests.onnx_inspect.bad import ANSWERED, REFUSED, REPORTED, VALID, Made, bad

FLOATS = TensorProto.FLOAT


def chain(*nodes: NodeProto, opset: int = 20) -> ModelProto:
    """x to y, four floats."""
    values = [helper.make_tensor_value_info(n, FLOATS, [4]) for n in "xy"]
    graph = helper.make_graph(list(nodes), "g", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def node(op: str, inputs: str, outputs: str, name: str = "n", **attributes: object) -> NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), name, **attributes)


@bad(REPORTED, "cycle")
def cycle() -> Made:
    return chain(node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b", "y"))


@bad(REPORTED, "cycle")
def self_loop() -> Made:
    return chain(node("Add", "x y", "y"))


@bad(REPORTED, "not in execution order")
def unsorted() -> Made:
    return chain(node("Relu", "a", "y", "second"), node("Tanh", "x", "a", "first"))


@bad(REPORTED, "")
def cycle_in_a_subgraph() -> Made:
    inside = [node("Add", "x b", "a"), node("Relu", "a", "b")]
    body = helper.make_graph(inside, "body", [], [helper.make_tensor_value_info("b", FLOATS, [4])])
    yes = node("Constant", "", "yes", value=helper.make_tensor("t", TensorProto.BOOL, [], [True]))
    return chain(yes, node("If", "yes", "y", then_branch=body, else_branch=body))


def nested(depth: int) -> bytes:
    """If in If, ``depth`` deep: each level is three messages deeper. By hand, for protobuf refuses to build it."""
    out = helper.make_tensor_value_info("y", FLOATS, [4])
    other = helper.make_graph([node("Relu", "x", "y")], "other", [], [out])
    body = other.SerializeToString()
    for level in range(depth):
        inner = node("If", "yes", "y", f"if{level}", else_branch=other).SerializeToString()
        branch = AttributeProto(name="then_branch", type=AttributeProto.GRAPH).SerializeToString() + message(6, body)
        body = onnx.GraphProto(name="body", output=[out]).SerializeToString() + message(1, inner + message(5, branch))
    yes = node("Constant", "", "yes", value=helper.make_tensor("t", TensorProto.BOOL, [], [True]))
    model = chain(yes)
    model.graph.ClearField("output")
    graph = model.graph.SerializeToString() + body
    model.ClearField("graph")
    return model.SerializeToString() + message(7, graph)


def message(field: int, data: bytes) -> bytes:
    return _tag(field) + _encode(len(data)) + data


@bad(ANSWERED, "", "subgraphs nested 25 deep")
def deep() -> Made:
    return nested(25)


@bad(REFUSED, "nest over 100 deep", "subgraphs nested 60 deep")
def too_deep() -> Made:
    return nested(60)


@bad(ANSWERED, "", "types nested 90 deep")
def deep_types() -> Made:
    return types(40)


@bad(REFUSED, "nested over 100 deep", "types nested 300 deep")
def too_deep_types() -> Made:
    return types(150)


def types(depth: int) -> bytes:
    """x is a sequence of sequences of …"""
    model = chain(node("Identity", "x", "y"))
    data = model.graph.input[0].type.SerializeToString()
    for _ in range(depth):
        data = message(4, message(1, data))  # TypeProto.sequence_type, Sequence.elem_type
    graph = model.graph.SerializeToString() + message(11, message(1, b"x") + message(2, data))
    model.ClearField("graph")
    return model.SerializeToString() + message(7, graph)


def functions(calls: dict[str, list[str]], main: str) -> ModelProto:
    """Local functions by name, each a row of calls of others (or of operators); the graph calls ``main``."""
    model = chain(helper.make_node(main, ["x"], ["y"], "call", domain="local"))
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)]
    model.opset_import.append(opsets[1])
    for name, row in calls.items():
        names = ["v", *(f"v{k}" for k in range(1, len(row))), "w"]
        body = [
            helper.make_node(op, [names[k]], [names[k + 1]], domain="local" if op in calls else "")
            for k, op in enumerate(row)
        ]
        model.functions.append(helper.make_function("local", name, ["v"], ["w"], body, opsets))
    return model


@bad(REPORTED, "Cycle detected")
def a_function_that_calls_itself() -> Made:
    return functions({"f": ["Relu", "f"]}, "f")


@bad(REPORTED, "Cycle detected")
def two_functions_that_call_each_other() -> Made:
    return functions({"f": ["g"], "g": ["Relu", "f"]}, "f")


@bad(REPORTED, "Cycle detected")
def a_recursive_function_in_a_subgraph() -> Made:
    model = functions({"f": ["Relu"]}, "f")
    body = helper.make_graph([helper.make_node("f", ["v"], ["w"], domain="local")], "b", [], [])
    model.functions[0].node[0].attribute.append(AttributeProto(name="b", type=AttributeProto.GRAPH, g=body))
    return model


@bad(REPORTED, "Cycle detected")
def a_recursive_function_that_nobody_calls() -> Made:
    model = functions({"f": ["f"], "g": ["Relu"]}, "g")
    return model


@bad(REFUSED, "1,000,000,000 nodes with its functions inlined")
def a_billion_laughs() -> Made:
    """Ten calls of ten calls of …: 10⁹ nodes when all are inlined."""
    return functions({f"f{k}": [f"f{k + 1}"] * 10 for k in range(9)} | {"f9": ["Relu"]}, "f0")


@bad(REPORTED, "f0")
def two_functions_of_one_name() -> Made:
    model = functions({"f0": ["Relu"], "f1": ["f0"]}, "f1")
    model.functions.append(model.functions[0])
    return model


@bad(REPORTED, "", "a function that is not there")
def no_function() -> Made:
    return chain(helper.make_node("f", ["x"], ["y"], "call", domain="nowhere"))


@bad(ANSWERED)
def nan_attribute() -> Made:
    return chain(node("LeakyRelu", "x", "y", alpha=float("nan")))


@bad(ANSWERED)
def infinite_attribute() -> Made:
    return chain(node("LeakyRelu", "x", "y", alpha=float("-inf")))


@bad(ANSWERED, "", "a string of 10 MB in an attribute")
def long_string() -> Made:
    extra = node("Constant", "", "c", value_string=b"x" * 10_000_000)
    return chain(extra, node("Relu", "x", "y"))


NAMES = {
    "HTML": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "Markdown": "[x](javascript:alert(1)) | `x` | ![](http://example.org/x.png)",
    "newlines": "a\r\n\r\nHTTP/1.1 200 OK\n# x",
    "bidi": "\u202egnp.exe\u2066\u200b\ufeff",
    "control characters": "\x1b[31m\x00\x07",
    "format strings": "{0.__class__} %s %n ${7*7} {{7*7}}",
    "only slashes": "/" * 5000,
    "spaces and slashes": "/ " * 2000 + "/" * 200 + " ",
    "1 MB": "n" * 1_000_000,
    "emoji": "\U0001f600" * 1000,
}
for name, text in NAMES.items():

    @bad(ANSWERED, "", f"names of {name}")
    def named(text: str = text) -> Made:
        model = chain(
            helper.make_node("Relu", ["x"], [text + "1"], text), helper.make_node("Relu", [text + "1"], ["y"], text)
        )
        model.graph.name = model.producer_name = model.doc_string = model.domain = text
        model.graph.initializer.append(helper.make_tensor(text, FLOATS, [1], [1.0]))
        model.metadata_props.add(key=text, value=text)
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = text
        return model

    @bad(REPORTED, "", f"names of {name}, not valid")
    def broken(text: str = text) -> Made:
        nodes = [helper.make_node(text, [text], [text], text, domain=text), node("Relu", "x", "y")]
        model = chain(*nodes)
        model.graph.initializer.append(helper.make_tensor(text, FLOATS, [1], [1.0]))
        model.graph.initializer[0].dims[0] = 9
        return model


@bad(REPORTED, "y", "one output made twice")
def not_ssa() -> Made:
    return chain(node("Relu", "x", "y", "one"), node("Tanh", "x", "y", "two"))


@bad(ANSWERED)
def duplicate_graph_outputs() -> Made:
    model = chain(node("Relu", "x", "y"))
    model.graph.output.append(model.graph.output[0])
    return model


@bad(REPORTED, "")
def duplicate_inputs() -> Made:
    model = chain(node("Relu", "x", "y"))
    model.graph.input.append(model.graph.input[0])
    return model


@bad(REPORTED, "", "an output that nobody makes")
def no_maker() -> Made:
    return chain(node("Relu", "x", "z"))


@bad(ANSWERED)
def inputs_and_outputs_without_types() -> Made:
    model = chain(node("Relu", "x", "y"))
    for value in (*model.graph.input, *model.graph.output):
        value.ClearField("type")
    return model


@bad(ANSWERED)
def nothing_but_an_output() -> Made:
    return chain()


OPSETS = {"none": [], "zero": [("", 0)], "negative": [("", -7)], "2^62": [("", 1 << 62)], "1000": [("", 1000)]}
OPSETS |= {"twice": [("", 20), ("", 9)], "only another domain": [("x" * 2000, 1)], "two names": [("", 20), ("ai.onnx", 9)]}
for name, imports in OPSETS.items():

    @bad(ANSWERED if name in ("twice", "two names", "1000") else REPORTED, "", f"opset import: {name}")
    def versions(imports: list[tuple[str, int]] = imports) -> Made:
        model = chain(node("Relu", "x", "y"))
        del model.opset_import[:]
        model.opset_import.extend(onnx.OperatorSetIdProto(domain=d, version=v) for d, v in imports)
        return model


for version in (None, 0, -1, 1 << 62):

    @bad(ANSWERED if version == 1 << 62 else REPORTED, "", f"IR version {version}")
    def ir(version: int | None = version) -> Made:
        model = chain(node("Relu", "x", "y"))
        model.ClearField("ir_version")
        if version is not None:
            model.ir_version = version
        return model


PLAIN = chain(node("Relu", "x", "y", "PLACE"))
for where, mark in {"a node's name": b"PLACE", "an operator": b"Relu", "a value": b"\x01y"}.items():

    @bad(REFUSED, "UTF-8", f"invalid UTF-8 in {where}")
    def not_text(mark: bytes = mark) -> Made:
        return PLAIN.SerializeToString().replace(mark, mark[:-1] + b"\xff")


@bad(VALID)
def two_graph_fields_that_merge() -> Made:
    """Protobuf merges a message that comes twice: nodes of both are there."""
    one, two = chain(node("Relu", "x", "a")), chain(node("Tanh", "a", "y", "m"))
    del one.graph.input[:], one.graph.output[:]
    return one.SerializeToString() + message(7, two.graph.SerializeToString())


@bad(ANSWERED)
def many_graph_fields() -> Made:
    empty = onnx.GraphProto(name="x").SerializeToString()
    return PLAIN.SerializeToString() + message(7, empty) * 20_000


@bad(VALID)
def unknown_fields() -> Made:
    return PLAIN.SerializeToString() + message(999, bytes(5000)) + _encode(1000 << 3) + b"\x01"


@bad(VALID)
def a_varint_with_padding() -> Made:
    return b"\x08\x8a\x80\x80\x80\x80\x80\x80\x80\x80\x00" + PLAIN.SerializeToString()[2:]


@bad(ANSWERED)
def text_with_a_deep_type() -> Made:
    return parser.parse_model('<ir_version: 10, opset_import: ["" : 20]> g (optional(seq(float[4])) x) => (float[n] y) {}')
