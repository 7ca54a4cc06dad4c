"""What a training tells while it runs: the same events from PyTorch and from Keras."""

from __future__ import annotations

from dataclasses import dataclass

from lib.train.backbones import BackboneWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What happens before and after the epochs, in words. ``share`` of it is done, 0 to 1; None where nobody knows."""

    words: str
    share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One optimizer step. ``step`` counts from 1 over all epochs, ``epoch`` from 1; ``loss`` is the batch's mean."""

    step: int
    steps: int
    epoch: int
    loss: float
    learning_rate: float
    pictures_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """An epoch has ended and its checkpoint is on the disk. Losses are means over pictures; accuracy 0 to 1."""

    epoch: int
    step: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    seconds: float
    pictures_per_second: float
    best: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The network is built. ``history`` has the epochs that a resumed training did before."""

    weights: BackboneWeights
    history: tuple[Epoch, ...] = ()


Event = Stage | Built | Step | Epoch
