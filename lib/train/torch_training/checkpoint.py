"""Saves and loads the state that resumes a training exactly at the end of an epoch, and the best weights."""

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
    """Write the checkpoint atomically: a kill during the write keeps the previous one."""
    unfinished = folder / f"{FILE}.part"
    with unfinished.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / FILE)


def load(folder: Path) -> dict[str, Any] | None:
    """Returns the checkpoint, or None if there is none. Raises JobFailed if it cannot be read."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many exception types for a damaged file
        raise JobFailed("The run's checkpoint cannot be read, so the run cannot resume. Start a new run instead.") from error


def save_best(folder: Path, network: torch.nn.Module) -> None:
    """Write ``BEST`` as contiguous tensors. The metadata is fixed, so equal weights give identical files."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    unfinished = folder / f"{BEST}.part"
    save_file(tensors, unfinished, metadata={"format": "pt"})
    unfinished.replace(folder / BEST)
