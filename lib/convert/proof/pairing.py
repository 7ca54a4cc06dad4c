"""Pairs inputs and outputs of two models, and lists what changed about them."""

from __future__ import annotations

from lib.model_inputs.signature import Signature


def pair(source: list[str], target: list[str], renamed: dict[str, str]) -> dict[str, str]:
    """Names in the source -> names in the target: as the edge renamed them, else equal names, else by position."""
    out = {a: b for a, b in renamed.items() if a in source and b in target}
    out |= {name: name for name in source if name not in out and name in target and name not in out.values()}
    left = [n for n in source if n not in out]
    free = [n for n in target if n not in out.values()]
    return out | dict(zip(left, free, strict=False)) if len(left) == len(free) else out


def changes(source: Signature, target: Signature, ins: dict[str, str], outs: dict[str, str]) -> list[str]:
    """Sentences for callers of the target: other names and dtypes, additional outputs or another order."""
    found = []
    for side, given, now, names in (
        ("input", source.inputs, target.inputs, ins),
        ("output", source.outputs, target.outputs, outs),
    ):
        theirs = {v.name: v for v in now}
        for value in given:
            other = theirs.get(names.get(value.name, ""))
            if other is None:
                found.append(f"The converted model has no {side} {value.name!r}.")
            elif other.dtype != value.dtype:
                found.append(f"The {side} {value.name!r} is {other.dtype} now, and was {value.dtype}.")
        if more := [v.name for v in now if v.name not in names.values()]:
            found.append(f"The converted model has {side}s that the source has not: {', '.join(map(repr, more[:5]))}.")
        order = [names[v.name] for v in given if v.name in names]
        if order != [v.name for v in now if v.name in order]:
            found.append(f"The {side}s of the converted model are in another order.")
    return found
