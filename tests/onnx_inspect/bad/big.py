"""Small files that ask for much: many nodes, names that are repeated, dimensions that explode."""

from __future__ import annotations

from onnx import ModelProto, TensorProto, helper

from tests.onnx_inspect.bad import ANSWERED, REPORTED, VALID, Made, bad
from tests.onnx_inspect.bad.structure import FLOATS, chain, node

MANY = 100_000


@bad(VALID, "", "100,000 nodes without names", run=False)
def nodes() -> Made:
    """A chain; built as protobuf would read it."""
    model = chain()
    for k in range(MANY):
        one = model.graph.node.add(op_type="Relu")
        one.input.append("x" if k == 0 else f"v{k}")
        one.output.append("y" if k == MANY - 1 else f"v{k + 1}")
    return model


@bad(ANSWERED, "", "100,000 nodes of one name, a third of them dead", run=False)
def one_name() -> Made:
    model = chain(node("Relu", "x", "y"))
    for k in range(MANY):
        one = model.graph.node.add(op_type=("Relu", "Nothing", "Add")[k % 3], name="same" * 50)
        one.input.extend(["x"] * (k % 3))
        one.output.append(f"v{k}")
    return model


@bad(REPORTED, "cycle", "100,000 nodes in one cycle", run=False)
def long_cycle() -> Made:
    model = chain()
    for k in range(MANY):
        one = model.graph.node.add(op_type="Relu")
        one.input.append(f"v{(k + 1) % MANY}")
        one.output.append(f"v{k}")
    return model


@bad(ANSWERED, run=False)
def ten_thousand_equal_initializers_with_long_names() -> Made:
    """Every name is read by one node of a long name: written once, answered 10,000 times."""
    model = chain(node("Relu", "x", "y"))
    last = model.graph.node.add(op_type="Sum", name="n" * 100_000, output=["s"])
    for k in range(10_000):
        model.graph.initializer.append(TensorProto(name=f"w{k}", data_type=1, dims=[100], raw_data=bytes(400)))
        last.input.append(f"w{k}")
    return model


@bad(ANSWERED, run=False)
def a_long_name_over_many_subgraphs() -> Made:
    """The scope of 1,000 inner nodes begins with the name of 1 MB of their owner."""
    inside = [helper.make_node("Relu", ["x"], [f"v{k}"], f"n{k}") for k in range(1000)]
    body = helper.make_graph(inside, "b", [], [helper.make_tensor_value_info("v0", FLOATS, [4])])
    yes = node("Constant", "", "yes", value=helper.make_tensor("t", TensorProto.BOOL, [], [True]))
    return chain(yes, node("If", "yes", "y", "n" * 1_000_000, then_branch=body, else_branch=body))


@bad(VALID, "", "200 branches that see 10,000 values", run=False)
def branches() -> Made:
    model = chain(node("Constant", "", "yes", value=helper.make_tensor("t", TensorProto.BOOL, [], [True])))
    for k in range(10_000):
        model.graph.node.append(helper.make_node("Relu", ["x"], [f"v{k}"], f"r{k}"))
    for k in range(200):
        out = helper.make_tensor_value_info("o", FLOATS, [4])
        body = helper.make_graph([helper.make_node("Relu", [f"v{k}"], ["o"])], "b", [], [out])
        model.graph.node.append(node("If", "yes", f"i{k}", f"if{k}", then_branch=body, else_branch=body))
    model.graph.node.append(node("Relu", "i0", "y", "last"))
    return model


@bad(ANSWERED, run=False)
def a_shape_of_rank_1000_through_1000_nodes() -> Made:
    model = chain(*(node("Relu", "x" if k == 0 else f"v{k}", f"v{k + 1}", f"n{k}") for k in range(1000)))
    del model.graph.input[0].type.tensor_type.shape.dim[:]
    for _ in range(1000):
        model.graph.input[0].type.tensor_type.shape.dim.add(dim_value=1 << 40)
    return model


@bad(ANSWERED, run=False)
def fifty_thousand_symbols() -> Made:
    model = chain(node("Relu", "x", "y"))
    for k in range(50_000):
        model.graph.input.append(helper.make_tensor_value_info(f"i{k}", FLOATS, [f"symbol{k}"]))
    return model


@bad(ANSWERED, run=False)
def fifty_thousand_missing_tensors() -> Made:
    model = chain(node("Relu", "x", "y"))
    for k in range(50_000):
        held = model.graph.initializer.add(name=f"w{k}", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
        held.external_data.add(key="location", value=f"file{k}")
    return model


@bad(ANSWERED, run=False)
def a_name_of_slashes() -> Made:
    """For a viewer's groups and for messages without paths."""
    model: ModelProto = chain(node("Relu", "x", "y"))
    for k in range(4000):
        model.graph.node.append(helper.make_node("Relu", ["x"], [f"v{k}"], "/a" * 500 + f"/{k}"))
    return model


@bad(ANSWERED, run=False)
def dropouts_that_share_a_long_mode() -> Made:
    model = chain(node("Relu", "x", "y"))
    model.graph.initializer.append(TensorProto(name="r", data_type=1, dims=[], float_data=[0.5]))
    mode = model.graph.initializer.add(name="mode", data_type=9, dims=[100])
    mode.raw_data = bytes(100)
    for k in range(20_000):
        model.graph.node.append(helper.make_node("Dropout", ["x", "r", "mode"], [f"v{k}"], f"d{k}"))
    return model
