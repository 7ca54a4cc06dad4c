"""Match the inputs and outputs of two models by name, and describe what changed."""

from __future__ import annotations

from lib.model_inputs.signature import Signature


def pair(source: list[str], target: list[str], renamed: dict[str, str]) -> dict[str, str]:
    """Map names of the source to names of the target: as the edge renamed them, else equal names, else by position."""
    sources, targets = set(source), set(target)  # a checkpoint may have tens of thousands of tensors
    mapping = {a: b for a, b in renamed.items() if a in sources and b in targets}
    used = set(mapping.values())
    mapping |= {name: name for name in source if name not in mapping and name in targets and name not in used}
    used = set(mapping.values())
    unmatched = [n for n in source if n not in mapping]
    available = [n for n in target if n not in used]
    return mapping | dict(zip(unmatched, available, strict=False)) if len(unmatched) == len(available) else mapping


def changes(source: Signature, target: Signature, ins: dict[str, str], outs: dict[str, str]) -> list[str]:
    """Return sentences for callers of the target: changed names and dtypes, additional values, or another order."""
    sentences = []
    for side, before, after, names in (
        ("input", source.inputs, target.inputs, ins),
        ("output", source.outputs, target.outputs, outs),
    ):
        target_values = {v.name: v for v in after}
        for value in before:
            counterpart = target_values.get(names.get(value.name, ""))
            if counterpart is None:
                sentences.append(f"The converted model has no {side} {value.name!r}.")
            elif counterpart.dtype != value.dtype:
                sentences.append(f"The {side} {value.name!r} is now {counterpart.dtype} instead of {value.dtype}.")
        matched = set(names.values())
        if added := [v.name for v in after if v.name not in matched]:
            sentences.append(
                f"The converted model has {side}s that the source does not have: {', '.join(map(repr, added[:5]))}."
            )
        order = [names[v.name] for v in before if v.name in names]
        ordered = set(order)
        if order != [v.name for v in after if v.name in ordered]:
            sentences.append(f"The {side}s of the converted model are in a different order.")
    return sentences
