"""Which epoch is the best so far, and whether to stop early."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class BestEpoch:
    """The epoch with the highest validation accuracy. Of equal ones, and a small set has many, that with the lower loss."""

    epoch: int = 0
    accuracy: float = -1.0
    loss: float = float("inf")

    def update(self, epoch: int, accuracy: float, loss: float) -> bool:
        """Takes the epoch in, and says whether it is the best so far. One whose loss is not a number never is."""
        if loss != loss or (accuracy, -loss) <= (self.accuracy, -self.loss):
            return False
        self.epoch, self.accuracy, self.loss = epoch, accuracy, loss
        return True

    def stops_early(self, epoch: int, patience: int) -> bool:
        """Whether ``patience`` epochs have passed since the best one. With a patience of 0 training never stops early."""
        return patience > 0 and epoch - self.epoch >= patience
