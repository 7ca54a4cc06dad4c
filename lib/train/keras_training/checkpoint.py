"""Saves and loads the state that resumes a training exactly at the end of an epoch, and the best weights."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from lib.errors import JobFailed
from lib.train.keras_training.network import array
from lib.train.training import BEST

FILE = "checkpoint.safetensors"
BROKEN = "The run's checkpoint cannot be read, so the run cannot resume. Start a new run instead."


def arrays(variables: Iterable[Any]) -> dict[str, np.ndarray]:
    """Returns the variables' arrays by path."""
    return {v.path: np.ascontiguousarray(array(v)) for v in variables}


def assign(variables: Iterable[Any], found: dict[str, np.ndarray]) -> None:
    """Assign arrays to variables by path. Raises KeyError for a missing name and ValueError for a wrong shape."""
    for variable in variables:
        variable.assign(found[variable.path])


def save(folder: Path, model: keras.Model, optimizer: keras.Optimizer, state: dict[str, Any]) -> None:
    """Write the checkpoint atomically: a kill during the write keeps the previous one. ``state`` must be JSON data."""
    # do not name the value ``array``: Python 3.12.1 would then treat the function used below as a local variable
    tensors = {f"model/{name}": value for name, value in arrays(model.variables).items()}
    # optimizer variables can share a path, but their order is fixed
    tensors |= {f"optimizer/{k}": array(v) for k, v in enumerate(optimizer.variables)}
    _write(folder / FILE, tensors, {"state": json.dumps(state)})


def load(folder: Path, model: keras.Model, optimizer: keras.Optimizer) -> dict[str, Any] | None:
    """Restore a built model and its optimizer and return the state, or None if there is no checkpoint.

    Raises JobFailed if it cannot be read or belongs to another network.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, "numpy") as file:
            state = json.loads(file.metadata()["state"])
        tensors = load_file(path)
        assign(
            model.variables,
            {name.removeprefix("model/"): tensor for name, tensor in tensors.items() if name.startswith("model/")},
        )
        for k, variable in enumerate(optimizer.variables):
            variable.assign(tensors[f"optimizer/{k}"])
    except Exception as error:  # safetensors raises its own type for a damaged file
        raise JobFailed(BROKEN) from error
    return state


def save_best(folder: Path, model: keras.Model) -> None:
    """Write ``BEST``. The metadata is fixed, so equal weights give identical files."""
    _write(folder / BEST, arrays(model.variables), {"format": "keras"})


def load_best(folder: Path, model: keras.Model) -> None:
    """Load ``BEST`` into the model. Raises JobFailed if there are no weights or they belong to another network."""
    if not (folder / BEST).is_file():
        raise JobFailed("This run has no weights: it ended before completing an epoch.")
    try:
        assign(model.variables, load_file(folder / BEST))
    except Exception as error:
        raise JobFailed("The run's weights cannot be read.") from error


def _write(path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    unfinished = path.with_name(f"{path.name}.part")
    save_file(tensors, unfinished, metadata=metadata)
    with unfinished.open("rb+") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)
