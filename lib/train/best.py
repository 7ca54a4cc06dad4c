"""Which epoch is the best so far, and whether it is time to stop early."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class Best:
    """The highest validation accuracy; between equal ones the lower loss. On a small set many epochs are equal."""

    epoch: int = 0
    accuracy: float = -1.0
    loss: float = float("inf")

    def better(self, epoch: int, accuracy: float, loss: float) -> bool:
        """Takes the epoch in, and says whether it is the best so far. A loss that is not a number never is."""
        if loss != loss or (accuracy, -loss) <= (self.accuracy, -self.loss):
            return False
        self.epoch, self.accuracy, self.loss = epoch, accuracy, loss
        return True

    def waited(self, epoch: int, patience: int) -> bool:
        """Whether ``patience`` epochs have passed since the best one. A patience of 0 waits for ever."""
        return patience > 0 and epoch - self.epoch >= patience

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
