"""Training events, the same for PyTorch and Keras."""

from __future__ import annotations

from dataclasses import dataclass

from lib.train.backbones import BackboneWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A step before or after the epochs, as text. ``share`` is the completed share, 0 to 1, or None if unknown."""

    words: str
    share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One optimizer step. ``step`` counts from 1 over all epochs, ``epoch`` from 1; ``loss`` is the batch mean."""

    step: int
    steps: int
    epoch: int
    loss: float
    learning_rate: float
    pictures_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """An epoch has ended and its checkpoint is saved. Losses are means over images; accuracy is 0 to 1."""

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
    """The network is built. ``history`` holds the epochs completed before a resume."""

    weights: BackboneWeights
    history: tuple[Epoch, ...] = ()


Event = Stage | Built | Step | Epoch
