"""PyTorch networks as a user has them: trained for a minute at most, exported to ONNX."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn


def train(
    network: nn.Module,
    inputs: tuple[np.ndarray, ...],
    targets: np.ndarray,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    *,
    epochs: int,
    batch: int = 64,
    rate: float = 2e-3,
) -> None:
    """Adam with a rate that falls to nothing. On one thread: small, and the same result on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    given, wanted = [torch.from_numpy(x) for x in inputs], torch.from_numpy(targets)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate)
    steps = epochs * -(-len(targets) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps)
    shuffle = torch.Generator().manual_seed(0)
    network.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(targets), generator=shuffle).split(batch):
            optimizer.zero_grad()
            loss(network(*(x[rows] for x in given)), wanted[rows]).backward()
            optimizer.step()
            schedule.step()
    torch.set_num_threads(threads)
    network.eval()


def predict(network: nn.Module, *inputs: np.ndarray) -> list[np.ndarray]:
    """Row by row, as the check runs them: output by output, [samples, 1, ...]."""
    rows = []
    with torch.no_grad():
        for k in range(len(inputs[0])):
            made = network(*(torch.from_numpy(x[k : k + 1]) for x in inputs))
            rows.append([v.numpy() for v in (made if isinstance(made, tuple) else (made,))])
    return [np.stack(one) for one in zip(*rows, strict=True)]


def export(
    network: nn.Module,
    inputs: tuple[np.ndarray, ...],
    path: Path,
    *,
    names: tuple[str, ...],
    outputs: tuple[str, ...],
    free: dict[int, str] | None = None,
    legacy: bool = False,
) -> None:
    """``free``: axes of every input that stay dynamic, with their names; ``legacy``: by torch's older exporter."""
    free = {0: "batch"} if free is None else free
    given = tuple(torch.from_numpy(np.concatenate([x[:2]])) for x in inputs)
    how: dict[str, Any] = {"input_names": list(names), "output_names": list(outputs)}
    if legacy:
        how |= {"dynamo": False, "dynamic_axes": dict.fromkeys((*names, *outputs[:1]), free)}
    else:
        axes = {
            axis: torch.export.Dim(name, min=1) if name == "batch" else torch.export.Dim.DYNAMIC
            for axis, name in free.items()
        }
        how |= {"dynamo": True, "external_data": False, "verbose": False, "dynamic_shapes": tuple(axes for _ in names)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network.eval(), given, path, **how)


def held(**inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Samples as they are fed: one row each, [samples, 1, ...]."""
    return {name: value[:, None] for name, value in inputs.items()}
