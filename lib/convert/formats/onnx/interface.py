"""What an ONNX model takes and gives, kept through a tool: names, dtypes, and which dimensions are free."""

from __future__ import annotations

from onnx import ModelProto, ValueInfoProto

NAME = 80
Interface = tuple[list[ValueInfoProto], list[ValueInfoProto]]


def of(model: ModelProto) -> Interface:
    """Copies of the inputs that are no initializers, and of the outputs."""
    return [copied(v) for v in _inputs(model)], [copied(v) for v in model.graph.output]


def restore(model: ModelProto, interface: Interface) -> str:
    """Declares inputs and outputs as in ``interface``: names that a tool gave to nameless dimensions go, inputs that it
    dropped because nothing reads them any more come back.

    What contradicts it is not changed; the words say what.
    """
    _restore_inputs(model, interface[0])
    for which, mine, theirs in zip(("input", "output"), (_inputs(model), list(model.graph.output)), interface, strict=True):
        if [v.name for v in mine] != [v.name for v in theirs]:
            return f"names of {which}s"
        for value, wanted in zip(mine, theirs, strict=True):
            if why := _difference(value, wanted, which == "input"):
                return f"{why} of {value.name[:NAME]!r}"
            value.CopyFrom(wanted)
    return ""


def _restore_inputs(model: ModelProto, wanted: list[ValueInfoProto]) -> None:
    """A caller goes on passing an input whose shape alone was asked for, after that shape was folded."""
    mine = {v.name: copied(v) for v in model.graph.input}
    if missing := {v.name for v in wanted} - mine.keys():
        names = {v.name for v in wanted}
        rest = [v for name, v in mine.items() if name not in names]
        known = [v if v.name in missing else mine[v.name] for v in wanted]
        del model.graph.input[:]
        model.graph.input.extend([*known, *rest])


def _inputs(model: ModelProto) -> list[ValueInfoProto]:
    """Initializers listed as inputs are constants; whether they are listed is free."""
    held = {t.name for t in model.graph.initializer}
    return [v for v in model.graph.input if v.name not in held]


def _difference(value: ValueInfoProto, wanted: ValueInfoProto, is_input: bool) -> str:
    """``is_input``: an input, whose free dimensions stay free. Of an output, inference may know more."""
    a, b = value.type, wanted.type
    if a.WhichOneof("value") != b.WhichOneof("value"):
        return "kind"
    if not a.HasField("tensor_type"):
        return ""
    if a.tensor_type.elem_type != b.tensor_type.elem_type:
        return "dtype"
    if not (a.tensor_type.HasField("shape") and b.tensor_type.HasField("shape")):
        return ""
    mine, theirs = a.tensor_type.shape.dim, b.tensor_type.shape.dim
    if len(mine) != len(theirs):
        return "rank"
    for m, t in zip(mine, theirs, strict=True):
        if m.HasField("dim_value") and t.HasField("dim_value") and m.dim_value != t.dim_value:
            return "sizes"
        if is_input and m.HasField("dim_value") != t.HasField("dim_value"):
            return "dynamic dimensions"
        if m.dim_param and t.dim_param and m.dim_param != t.dim_param:
            return "dynamic dimensions"
    return ""


def copied(value: ValueInfoProto) -> ValueInfoProto:
    out = ValueInfoProto()
    out.CopyFrom(value)
    return out
