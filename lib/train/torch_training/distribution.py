"""Single-process and distributed training: how a batch is split, and which process writes.

Distributed trainings are launched with ``accelerate launch``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Alone:
    """The single-process default, and the interface that ``Together`` implements."""

    rank, ranks, main = 0, 1, True

    def __init__(self) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def prepare(self, network: nn.Module) -> nn.Module:
        return network.to(self.device)

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """Returns the sum over all processes."""
        return value

    def agree(self, value: Any) -> Any:
        """Returns the main process's value in every process."""
        return value


class Together(Alone):
    """Distributed training with Accelerate. Each process takes its share of every batch: the global batch is the recipe's.

    Gradients are averaged over the processes, so each process multiplies its loss by their number.
    """

    def __init__(self) -> None:
        from accelerate import Accelerator

        # without a GPU, Accelerator would treat each process as a separate single-process training
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available())
        self.rank, self.ranks = self.accelerator.process_index, self.accelerator.num_processes
        self.main, self.device = self.accelerator.is_main_process, self.accelerator.device

    def prepare(self, network: nn.Module) -> nn.Module:
        return self.accelerator.prepare_model(network)

    def total(self, value: torch.Tensor) -> torch.Tensor:
        return self.accelerator.reduce(value.clone(), reduction="sum")

    def agree(self, value: Any) -> Any:
        from accelerate.utils import broadcast_object_list

        objects = [value]
        broadcast_object_list(objects)
        return objects[0]


def distribution(processes: int) -> Alone:
    """Returns the strategy for ``processes``, the world size announced by the launcher (1 without one)."""
    return Together() if processes > 1 else Alone()
