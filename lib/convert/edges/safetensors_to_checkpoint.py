"""Converts safetensors to a PyTorch checkpoint: a plain dict of tensors for ``torch.load(weights_only=True)``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.convert.edges import edge


@edge(
    "safetensors",
    "checkpoint",
    tool="safetensors + torch.save",
    precision="exact",
    seconds=1,
    error=0.0,
    needs=("torch", "safetensors"),
    note="Every tensor, bit for bit. Load it with torch.load(path, weights_only=True).",
)
def convert(progress: Callable[..., None], source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    import torch

    from lib.convert.formats.weights.runner import CHECKPOINT, SAFETENSORS, read_safetensors

    progress("Reading safetensors", None)
    tensors, metadata = read_safetensors(source / SAFETENSORS)
    progress("Writing the checkpoint", 0.5)
    torch.save(tensors, target / CHECKPOINT)
    metadata.pop("format", None)
    lost = ", ".join(key[:40] for key in list(metadata)[:5])
    return {"messages": [f"A checkpoint cannot hold metadata; left out: {lost}."] if lost else []}
