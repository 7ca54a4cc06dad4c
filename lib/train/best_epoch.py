"""Tracks the best epoch and decides on early stopping."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class BestEpoch:
    """The epoch with the highest validation accuracy; ties, common on small sets, go to the lower validation loss."""

    epoch: int = 0
    accuracy: float = -1.0
    loss: float = float("inf")

    def update(self, epoch: int, accuracy: float, loss: float) -> bool:
        """Record an epoch; returns whether it is the best so far. An epoch whose loss is NaN never is."""
        if loss != loss or (accuracy, -loss) <= (self.accuracy, -self.loss):
            return False
        self.epoch, self.accuracy, self.loss = epoch, accuracy, loss
        return True

    def stops_early(self, epoch: int, patience: int) -> bool:
        """Returns whether ``patience`` epochs have passed since the best one. A patience of 0 disables early stopping."""
        return patience > 0 and epoch - self.epoch >= patience
