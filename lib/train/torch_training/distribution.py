"""One process or several: how a batch is shared, and who writes. Several are started by ``accelerate launch``."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Alone:
    """The usual case. Also the interface: ``Together`` answers the same."""

    rank, ranks, main = 0, 1, True

    def __init__(self) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def prepare(self, network: nn.Module) -> nn.Module:
        return network.to(self.device)

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """The sum over all processes."""
        return value

    def agree(self, value: Any) -> Any:
        """What the main process found, in every process."""
        return value


class Together(Alone):
    """Accelerate's processes. Each takes its share of every batch, so the global batch is the recipe's.

    Gradients are averaged over processes, so each process scales its loss by the number of them.
    """

    def __init__(self) -> None:
        from accelerate import Accelerator

        # without a GPU it would take each process for one that trains alone
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available())
        self.rank, self.ranks = self.accelerator.process_index, self.accelerator.num_processes
        self.main, self.device = self.accelerator.is_main_process, self.accelerator.device

    def prepare(self, network: nn.Module) -> nn.Module:
        return self.accelerator.prepare_model(network)

    def total(self, value: torch.Tensor) -> torch.Tensor:
        return self.accelerator.reduce(value.clone(), reduction="sum")

    def agree(self, value: Any) -> Any:
        from accelerate.utils import broadcast_object_list

        box = [value]
        broadcast_object_list(box)
        return box[0]


def distribution(processes: int) -> Alone:
    """``processes`` is the world size that a launcher announces; 1 without one."""
    return Together() if processes > 1 else Alone()
