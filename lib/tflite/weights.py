"""What the weights of a TensorFlow Lite file, as ``file`` reads it, are stored as; and what float16 cuts off."""

from __future__ import annotations

from typing import Any

import numpy as np

from lib.tflite import file as tflite_file

LARGEST = float(np.finfo(np.float16).max)  # 65,504
FLOAT32, FLOAT16 = 0, 1
INTEGERS = {9, 3, 7, 17, 19}  # int8, uint8, int16, int4, int2: what quantised weights are stored as
MAX_NAMED = 5


def stored_bytes(model: dict[str, Any]) -> dict[int, int]:
    """Bytes of weights by TensorType; quantised ones only where they have a scale. A buffer that is shared counts once."""
    found: dict[int, int] = {}
    seen: set[int] = set()
    for graph in model["subgraphs"]:
        for tensor in graph["tensors"]:
            buffer, kind = model["buffers"][tensor["buffer"]], tensor["type"]
            size = len(buffer["data"]) or (buffer["size"] if buffer["offset"] > 1 else 0)
            scaled = tensor["quantization"] is not None and len(tensor["quantization"]["scale"]) > 0
            if size and tensor["buffer"] not in seen and (scaled or kind in (FLOAT32, FLOAT16)):
                seen.add(tensor["buffer"])
                found[kind] = found.get(kind, 0) + size
    return found


def why_already_quantised(model: dict[str, Any]) -> str:
    """Why there is nothing to make smaller: most weights are integers or float16 already; "" otherwise."""
    found = stored_bytes(model)
    wide = found.get(FLOAT32, 0)
    whole, half = sum(found.get(kind, 0) for kind in INTEGERS), found.get(FLOAT16, 0)
    if whole > max(wide, half):
        return f"The weights are quantised already: {_share(whole, found)} of their bytes are integers."
    if half > max(wide, whole):
        return f"The weights are float16 already: {_share(half, found)} of their bytes."
    return ""


def computes_in_integers(model: dict[str, Any]) -> bool:
    """Whether activations are integers with a scale: another runtime rounds them elsewhere."""

    def scaled(tensor: dict[str, Any]) -> bool:
        scales = tensor["quantization"]["scale"] if tensor["quantization"] is not None else ()
        return tensor["type"] in INTEGERS and len(scales) > 0

    return any(
        scaled(graph["tensors"][number])
        for graph in model["subgraphs"]
        for operator in graph["operators"]
        for number in operator["outputs"].tolist()
        if number >= 0
    )


def cut(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Sentences on weights of ``before`` that became float16 in ``after`` and do not fit into it."""
    messages = []
    for k, graph in enumerate(after["subgraphs"]):
        halves = {t["name"] for t in graph["tensors"] if t["type"] == FLOAT16}
        for tensor in before["subgraphs"][k]["tensors"]:
            values = tflite_file.stored(before, tensor) if tensor["name"] in halves else None
            if values is None or values.dtype != np.float32 or not values.size:
                continue
            peak = float(np.abs(np.where(np.isfinite(values), values, 0)).max())
            if peak > LARGEST:
                how = f"reaches {peak:,.0f}, and float16 holds at most {LARGEST:,.0f}"
                messages.append(f"The weight {tensor['name'][:80]!r} {how}: what is beyond became infinite.")
            elif peak and not values.astype(np.float16).any():
                messages.append(f"The weight {tensor['name'][:80]!r} is at most {peak:.1g}: in float16 all of it became 0.")
    more = [f"So did {len(messages) - MAX_NAMED} more weights."] if len(messages) > MAX_NAMED else []
    return messages[:MAX_NAMED] + more


def _share(part: int, found: dict[int, int]) -> str:
    return f"{part / sum(found.values()):.0%}"
