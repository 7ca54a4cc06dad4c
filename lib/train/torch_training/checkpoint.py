"""What a training needs to go on from the end of an epoch as if nothing had happened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from lib.errors import JobFailed
from lib.train.training import BEST

FILE = "checkpoint.pt"


def save(folder: Path, state: dict[str, Any]) -> None:
    """Complete or not at all: a kill in the middle leaves the checkpoint before it."""
    unfinished = folder / f"{FILE}.part"
    with unfinished.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / FILE)


def load(folder: Path) -> dict[str, Any] | None:
    """None where there is no checkpoint. Raises JobFailed for one that cannot be read."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise JobFailed("The run's checkpoint cannot be read, so it cannot go on. Start a new run instead.") from error


def save_best(folder: Path, network: torch.nn.Module) -> None:
    """``BEST``, float32 in plain order. The metadata is fixed, so equal weights are equal files."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    unfinished = folder / f"{BEST}.part"
    save_file(tensors, unfinished, metadata={"format": "pt"})
    unfinished.replace(folder / BEST)
