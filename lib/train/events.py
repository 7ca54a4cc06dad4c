"""What a training tells while it runs: the same events from PyTorch and from Keras."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Work around the epochs, in words; ``share`` of it done, 0 to 1, or None."""

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
    """The network stands. ``source`` of the backbone's weights in words ("random" for none), their sha256, "" for none.

    ``history`` is what a resumed training did before.
    """

    source: str
    sha256: str
    parameters: int
    history: tuple[Epoch, ...] = ()


Event = Stage | Built | Step | Epoch
