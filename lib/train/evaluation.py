"""Evaluation of a classifier: accuracy with its confidence interval, confusion matrix, top mistakes. Pure NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from lib.statistics import wilson
from lib.train.schema import OPTIONAL

MISTAKES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class PartResult:
    """``correct`` of ``count`` images of one split. ``accuracy`` is 0 to 1, ``interval`` its 95 % Wilson interval."""

    count: int
    correct: int
    accuracy: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, correct: int, count: int) -> PartResult:
        return cls(count=count, correct=correct, accuracy=correct / max(count, 1), interval=wilson(correct, count))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The headline result of a run: its best ``epoch``, counted from 1, on the split ``on``. ``parts`` holds all splits.

    ``on`` is "test" if there are test images, else "validation", which was also used to select the epoch. The other fields
    equal those of ``parts[on]``.
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
    """A misclassified image.

    ``index`` is its position in the dataset; ``label`` (ground truth) and ``predicted`` are class indices; ``probability``
    is that of ``predicted``, 0 to 1.
    """

    index: int
    label: int
    predicted: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedPicture:
    """``name`` is the end of the image's path, ``sha256`` the first 16 hex digits of its hash.

    ``label`` (ground truth) and ``predicted`` are class indices, ``probability`` is that of ``predicted``. ``thumb`` is a
    base64 JPEG, None if none is stored.
    """

    name: str = ""
    sha256: str = ""
    label: int
    predicted: int
    probability: float = 0.0
    thumb: str | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedPart:
    """``confusion`` counts images, [classes][classes]: rows are true classes, columns predicted ones.

    ``pictures`` start with the most confident mistakes.
    """

    confusion: list[list[int]] = field(default_factory=list)
    pictures: list[EvaluatedPicture] = field(default_factory=list)

    def picked(self, label: int, predicted: int) -> list[EvaluatedPicture]:
        """Returns the images of one cell of the confusion matrix."""
        return [picture for picture in self.pictures if (picture.label, picture.predicted) == (label, predicted)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Every evaluated image of a run, by split. Raises ValueError if a class index is out of range."""

    classes: list[str]
    parts: dict[str, EvaluatedPart]

    def __post_init__(self) -> None:
        numbers = range(len(self.classes))
        for part in self.parts.values():
            if any(len(row) != len(numbers) for row in [part.confusion, *part.confusion] if part.confusion):
                raise ValueError("the matrix does not fit the classes")
            if any(picture.label not in numbers or picture.predicted not in numbers for picture in part.pictures):
                raise ValueError("a picture is of no class")


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Predictions on one split: ``indices`` int64 [n] into the dataset, ``labels`` int64 [n], ``probabilities``
    float32 [n, classes].
    """

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
        """Returns the confusion matrix, int64 [classes, classes]: rows are true classes, columns predicted ones."""
        classes = self.probabilities.shape[1]
        flat = np.bincount(self.labels * classes + self.predicted, minlength=classes * classes)
        return flat.reshape(classes, classes)

    def mistakes(self, most: int = MISTAKES) -> list[Mistake]:
        """Returns the ``most`` misclassified images with the highest confidence, most confident first."""
        wrong = np.flatnonzero(~self.right)
        confidence = self.probabilities[wrong, self.predicted[wrong]]
        return [
            Mistake(
                index=int(self.indices[position]),
                label=int(self.labels[position]),
                predicted=int(self.predicted[position]),
                probability=round(float(self.probabilities[position].max()), 4),
            )
            for position in wrong[np.argsort(-confidence, kind="stable")][:most]
        ]
