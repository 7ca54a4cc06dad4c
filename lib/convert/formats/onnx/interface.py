"""Preserves an ONNX model's interface across a tool: input and output names, dtypes and dynamic dimensions."""

from __future__ import annotations

from onnx import ModelProto, ValueInfoProto

NAME = 80
Interface = tuple[list[ValueInfoProto], list[ValueInfoProto]]


def of(model: ModelProto) -> Interface:
    """Returns copies of the inputs (without initializers) and of the outputs."""
    return [copied(v) for v in _inputs(model)], [copied(v) for v in model.graph.output]


def restore(model: ModelProto, interface: Interface) -> str:
    """Restores the declared inputs and outputs from ``interface``.

    Dimension names that the tool invented are removed, and inputs it dropped as unused come back. Stops at the first
    declaration that contradicts ``interface`` and returns what differs; "" if all were restored.
    """
    _restore_inputs(model, interface[0])
    for side, current, original in zip(
        ("input", "output"), (_inputs(model), list(model.graph.output)), interface, strict=True
    ):
        if [v.name for v in current] != [v.name for v in original]:
            return f"names of {side}s"
        for value, wanted in zip(current, original, strict=True):
            if difference := _difference(value, wanted, side == "input"):
                return f"{difference} of {value.name[:NAME]!r}"
            value.CopyFrom(wanted)
    return ""


def _restore_inputs(model: ModelProto, wanted: list[ValueInfoProto]) -> None:
    """Adds back dropped inputs: callers still pass an input even if only its shape was used and has been folded."""
    current = {v.name: copied(v) for v in model.graph.input}
    if missing := {v.name for v in wanted} - current.keys():
        names = {v.name for v in wanted}
        extra = [v for name, v in current.items() if name not in names]
        ordered = [v if v.name in missing else current[v.name] for v in wanted]
        del model.graph.input[:]
        model.graph.input.extend([*ordered, *extra])


def _inputs(model: ModelProto) -> list[ValueInfoProto]:
    """Returns the inputs that are not initializers; listing initializers as inputs is optional."""
    initializers = {t.name for t in model.graph.initializer}
    return [v for v in model.graph.input if v.name not in initializers]


def _difference(value: ValueInfoProto, wanted: ValueInfoProto, is_input: bool) -> str:
    """Returns what differs between the two types, or "".

    An input's dynamic dimensions must stay dynamic; for an output, a tool's shape inference may know more.
    """
    a, b = value.type, wanted.type
    if a.WhichOneof("value") != b.WhichOneof("value"):
        return "kind"
    if not a.HasField("tensor_type"):
        return ""
    if a.tensor_type.elem_type != b.tensor_type.elem_type:
        return "dtype"
    if not (a.tensor_type.HasField("shape") and b.tensor_type.HasField("shape")):
        return ""
    dims, wanted_dims = a.tensor_type.shape.dim, b.tensor_type.shape.dim
    if len(dims) != len(wanted_dims):
        return "rank"
    for m, t in zip(dims, wanted_dims, strict=True):
        if m.HasField("dim_value") and t.HasField("dim_value") and m.dim_value != t.dim_value:
            return "sizes"
        if is_input and m.HasField("dim_value") != t.HasField("dim_value"):
            return "dynamic dimensions"
        if m.dim_param and t.dim_param and m.dim_param != t.dim_param:
            return "dynamic dimensions"
    return ""


def copied(value: ValueInfoProto) -> ValueInfoProto:
    """Returns a copy of ``value``."""
    duplicate = ValueInfoProto()
    duplicate.CopyFrom(value)
    return duplicate
