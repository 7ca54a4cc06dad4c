"""The storage types of the weights in a TensorFlow Lite file parsed by ``file``, and losses by float16."""

from __future__ import annotations

from typing import Any

import numpy as np

from lib.tflite import file as tflite_file

LARGEST = float(np.finfo(np.float16).max)  # 65,504
FLOAT32, FLOAT16 = 0, 1
INTEGERS = {9, 3, 7, 17, 19}  # int8, uint8, int16, int4, int2: types of quantized weights
MAX_NAMED = 5


def stored_bytes(model: dict[str, Any]) -> dict[int, int]:
    """Returns the bytes of weights by TensorType. Integers only count with a scale, and shared buffers once."""
    sizes: dict[int, int] = {}
    seen: set[int] = set()
    for graph in model["subgraphs"]:
        for tensor in graph["tensors"]:
            buffer, kind = model["buffers"][tensor["buffer"]], tensor["type"]
            size = len(buffer["data"]) or (buffer["size"] if buffer["offset"] > 1 else 0)
            scaled = tensor["quantization"] is not None and len(tensor["quantization"]["scale"]) > 0
            if size and tensor["buffer"] not in seen and (scaled or kind in (FLOAT32, FLOAT16)):
                seen.add(tensor["buffer"])
                sizes[kind] = sizes.get(kind, 0) + size
    return sizes


def why_already_quantised(model: dict[str, Any]) -> str:
    """Returns why there is nothing to reduce, if most weights are already integers or float16, else ""."""
    sizes = stored_bytes(model)
    float32 = sizes.get(FLOAT32, 0)
    integer, float16 = sum(sizes.get(kind, 0) for kind in INTEGERS), sizes.get(FLOAT16, 0)
    if integer > max(float32, float16):
        return f"The weights are already quantised: {_share(integer, sizes)} of their bytes are integers."
    if float16 > max(float32, integer):
        return f"The weights are float16 already: {_share(float16, sizes)} of their bytes."
    return ""


def computes_in_integers(model: dict[str, Any]) -> bool:
    """Whether activations are quantized integers, which other runtimes round differently."""

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
    """Returns sentences on weights of ``before`` that became float16 in ``after`` and overflow or underflow."""
    messages = []
    for k, graph in enumerate(after["subgraphs"]):
        halves = {t["name"] for t in graph["tensors"] if t["type"] == FLOAT16}
        for tensor in before["subgraphs"][k]["tensors"]:
            values = tflite_file.stored(before, tensor) if tensor["name"] in halves else None
            if values is None or values.dtype != np.float32 or not values.size:
                continue
            peak = float(np.abs(np.where(np.isfinite(values), values, 0)).max())
            if peak > LARGEST:
                cause = f"reaches {peak:,.0f}, and float16 holds at most {LARGEST:,.0f}"
                messages.append(f"The weight {tensor['name'][:80]!r} {cause}: values beyond that became infinite.")
            elif peak and not values.astype(np.float16).any():
                messages.append(
                    f"The weight {tensor['name'][:80]!r} is at most {peak:.1g}: all its values became 0 in float16."
                )
    rest = [f"So did {len(messages) - MAX_NAMED} more weights."] if len(messages) > MAX_NAMED else []
    return messages[:MAX_NAMED] + rest


def _share(part: int, found: dict[int, int]) -> str:
    return f"{part / sum(found.values()):.0%}"
