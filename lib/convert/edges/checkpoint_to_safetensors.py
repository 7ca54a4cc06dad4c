"""Converts a PyTorch checkpoint (pickle) to safetensors. Reads tensors only and never instantiates other objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.convert.edges import edge


@edge(
    "checkpoint",
    "safetensors",
    tool="torch.load(weights_only=True) + safetensors",
    precision="exact",
    seconds=1,
    error=0.0,
    needs=("torch", "safetensors"),
    note="Every tensor, bit for bit. What is not a tensor (epoch, optimizer settings) is left out and listed.",
)
def convert(progress: Callable[..., None], source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    from safetensors.torch import save_file

    from lib.convert.formats.weights.runner import CHECKPOINT, SAFETENSORS, read_checkpoint, sharing, to_numpy
    from lib.errors import InvalidFile

    progress("Reading the checkpoint", None)
    tensors, messages = read_checkpoint(source / CHECKPOINT)
    for names in sharing(tensors)[:5]:
        messages.append(
            "Tensors that share memory in the checkpoint, each written in full: "
            f"{', '.join(n[:60] for n in names[:4])}{' …' if len(names) > 4 else ''}. The model's class ties them again "
            "when it loads them."
        )
    shared = {name for names in sharing(tensors) for name in names}
    progress("Writing safetensors", 0.5)
    plain = {n: t.contiguous().clone() if n in shared or not t.is_contiguous() else t for n, t in tensors.items()}
    for name, tensor in plain.items():
        to_numpy(name, tensor)  # raises for dtypes that could not be compared
    try:
        save_file(plain, target / SAFETENSORS, metadata={"format": "pt"})
    except (ValueError, KeyError, RuntimeError) as error:
        raise InvalidFile(f"safetensors cannot hold these tensors ({str(error)[:160]}).") from None
    return {"messages": messages}
