"""What a trained classifier gets right: accuracy with its interval, confusion, the most confident mistakes. Pure NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from lib.statistics import wilson
from lib.train.schema import OPTIONAL

MISTAKES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class PartResult:
    """``correct`` of ``count`` pictures of one part. ``accuracy`` is 0 to 1, ``interval`` its 95 % interval (Wilson)."""

    count: int
    correct: int
    accuracy: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, correct: int, count: int) -> PartResult:
        return cls(count=count, correct=correct, accuracy=correct / max(count, 1), interval=wilson(correct, count))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run is judged by: its best ``epoch``, counted from 1, on the part ``on``. ``parts``: the result of each part.

    The part is "test" where there are test pictures, else "validation", on which the epoch was chosen. The other fields are
    those of ``parts[on]``.
    """

    on: str
    epoch: int = 0
    count: int
    correct: int
    accuracy: float
    interval: tuple[float, float]
    parts: dict[str, PartResult] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: Mapping[str, PartResult], epoch: int) -> RunResult:
        on = "test" if "test" in parts else "validation"
        return cls(on=on, epoch=epoch, **asdict(parts[on]), parts=dict(parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A picture with the wrong label. ``index`` into the data set; ``label`` (the true one) and ``predicted`` are numbers of
    classes; ``probability`` is that of ``predicted``, 0 to 1."""

    index: int
    label: int
    predicted: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedPicture:
    """``name`` is the end of its path, ``sha256`` the first 16 digits. ``label`` (the true one) and ``predicted`` are
    numbers of classes, ``probability`` is that of ``predicted``. ``thumb``: a JPEG in base64, None where none is kept."""

    name: str = ""
    sha256: str = ""
    label: int
    predicted: int
    probability: float = 0.0
    thumb: str | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedPart:
    """``confusion`` counts pictures, [classes][classes]: the true class by row, the predicted one by column. ``pictures``
    have the most confident mistakes first."""

    confusion: list[list[int]] = field(default_factory=list)
    pictures: list[EvaluatedPicture] = field(default_factory=list)

    def picked(self, label: int, predicted: int) -> list[EvaluatedPicture]:
        """The pictures of one cell of the matrix."""
        return [one for one in self.pictures if (one.label, one.predicted) == (label, predicted)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Every evaluated picture of a run, by part. Raises ValueError where a number is that of no class."""

    classes: list[str]
    parts: dict[str, EvaluatedPart]

    def __post_init__(self) -> None:
        numbers = range(len(self.classes))
        for part in self.parts.values():
            if any(len(line) != len(numbers) for line in [part.confusion, *part.confusion] if part.confusion):
                raise ValueError("the matrix does not fit the classes")
            if any(one.label not in numbers or one.predicted not in numbers for one in part.pictures):
                raise ValueError("a picture is of no class")


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Of one part of a data set: ``indices`` int64 [n] into its pictures, ``labels`` int64 [n], ``probabilities``
    float32 [n, classes]."""

    indices: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        return self.probabilities.argmax(axis=1)

    @property
    def right(self) -> np.ndarray:
        return self.predicted == self.labels

    def result(self) -> PartResult:
        return PartResult.of(int(self.right.sum()), len(self.labels))

    def confusion(self) -> np.ndarray:
        """int64 [classes, classes]: true class by row, predicted by column."""
        classes = self.probabilities.shape[1]
        flat = np.bincount(self.labels * classes + self.predicted, minlength=classes * classes)
        return flat.reshape(classes, classes)

    def mistakes(self, most: int = MISTAKES) -> list[Mistake]:
        """The pictures with a wrong label, the most confident first."""
        wrong = np.flatnonzero(~self.right)
        confidence = self.probabilities[wrong, self.predicted[wrong]]
        return [
            Mistake(
                index=int(self.indices[at]),
                label=int(self.labels[at]),
                predicted=int(self.predicted[at]),
                probability=round(float(self.probabilities[at].max()), 4),
            )
            for at in wrong[np.argsort(-confidence, kind="stable")][:most]
        ]
