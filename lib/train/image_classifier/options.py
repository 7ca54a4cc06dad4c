"""What Model Maker calls options: the models there are, hyperparameters, and what stands for each in a recipe."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from lib.errors import InvalidValue
from lib.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """``name`` is a backbone's, ``image_size`` pixels a side."""

    name: str
    image_size: int


class SupportedModels(Enum):
    """The weights of EFFICIENTNET_LITE0 are installed, those of the others come from the Hub.

    Sizes are Model Maker's, to the next multiple of 8.
    """

    EFFICIENTNET_LITE0 = ModelSpec("efficientnet_lite0", 224)
    EFFICIENTNET_LITE2 = ModelSpec("tf_efficientnet_lite2.in1k", 264)
    EFFICIENTNET_LITE4 = ModelSpec("efficientnet_lite4", 304)
    MOBILENET_V2 = ModelSpec("mobilenetv2_100.ra_in1k", 224)
    MOBILENET_V3_SMALL = ModelSpec("mobilenetv3_small", 224)


# Model Maker's hyperparameters that have no equal here, by the only value that would change nothing
WITHOUT_EQUAL: dict[str, Any] = {
    "steps_per_epoch": None,
    "class_weights": None,
    "repeat": False,
    "l1_regularizer": 0.0,
    "l2_regularizer": 0.0,
    "label_smoothing": 0.0,
    "decay_samples": None,
    "warmup_epochs": None,
    "checkpoint_frequency": 1,
    "one_hot": True,
    "multi_labels": False,
    "desired_precisions": None,
    "desired_recalls": None,
    "desired_thresholds": None,
    "best_model_metric_name": None,
    "distribution_strategy": "off",
    "num_gpus": -1,
    "tpu": "",
}


@dataclass(init=False, slots=True)
class HParams:
    """``epochs`` 0 stands for the technique's own number: 3 with ``do_fine_tuning``, 30 without, which are quicker.

    Without ``do_fine_tuning`` only the head learns, on features that are computed once; so ``do_data_augmentation`` needs
    it. ``learning_rate`` is the backbone's, as ``lib/train/recipe.py`` says. ``export_dir`` holds the run and what is
    exported; without one it is a new temporary folder. ``seed`` is ours.
    """

    learning_rate: float
    batch_size: int
    epochs: int
    do_fine_tuning: bool
    do_data_augmentation: bool
    export_dir: str
    seed: int

    def __init__(
        self,
        *,
        learning_rate: float = 1e-3,
        batch_size: int = 16,
        epochs: int = 0,
        do_fine_tuning: bool = False,
        do_data_augmentation: bool = False,
        shuffle: bool = True,
        export_dir: str | Path = "",
        seed: int = 0,
        **others: Any,
    ) -> None:
        """Raises InvalidValue for a name that is unknown or a value that nothing here would follow."""
        _only(self, others | ({} if shuffle is True else {"shuffle": shuffle}), WITHOUT_EQUAL | {"shuffle": True})
        self.learning_rate, self.batch_size, self.epochs, self.seed = learning_rate, batch_size, epochs, seed
        self.do_fine_tuning, self.do_data_augmentation = do_fine_tuning, do_data_augmentation
        self.export_dir = str(export_dir) or tempfile.mkdtemp(prefix="exported_model-")


@dataclass(init=False, slots=True)
class ModelOptions:
    """``image_size``, pixels a side, is ours: 0 stands for the model's own. A smaller one trains faster."""

    image_size: int

    def __init__(self, *, image_size: int = 0, **others: Any) -> None:
        """``dropout_rate``, which the guides set, is taken with a warning: the head has no dropout. Raises InvalidValue for
        other names."""
        if others.pop("dropout_rate", 0):
            warnings.warn("ModelOptions: dropout_rate is not followed; the head is one linear layer.", stacklevel=2)
        _only(self, others, {"alpha": 1.0})
        self.image_size = image_size


@dataclass(slots=True)
class ImageClassifierOptions:
    supported_model: SupportedModels
    model_options: ModelOptions | None = None
    hparams: HParams | None = None

    def recipe(self) -> Recipe:
        """Raises InvalidValue for a value out of range."""
        if not isinstance(self.supported_model, SupportedModels):
            names = ", ".join(f"SupportedModels.{one.name}" for one in SupportedModels)
            raise InvalidValue("supported_model", self.supported_model, names)
        hparams, spec = self.hparams or HParams(), self.supported_model.value
        self.hparams = hparams
        tuned = hparams.do_fine_tuning
        if hparams.do_data_augmentation and not tuned:
            raise InvalidValue("do_data_augmentation", True, "False, or do_fine_tuning=True as well")
        return Recipe(
            backbone=spec.name,
            technique="fine_tuning" if tuned else "feature_extraction",
            epochs=hparams.epochs,
            batch_size=hparams.batch_size,
            learning_rate=hparams.learning_rate,
            augmentation=hparams.do_data_augmentation,
            image_size=(self.model_options or ModelOptions()).image_size or spec.image_size,
            seed=hparams.seed,
        )


def _only(options: Any, given: dict[str, Any], equal: dict[str, Any]) -> None:
    """Refuses names that nobody knows, and values of ``equal`` that would not be followed."""
    kind = type(options).__name__
    for name, value in given.items():
        if name not in equal:
            raise InvalidValue(kind, name, ", ".join(type(options).__slots__))
        if value != equal[name] or isinstance(value, bool) != isinstance(equal[name], bool):
            raise InvalidValue(f"{kind}: {name}", value, f"{equal[name]!r}, or nothing: it has no equal here (docs/edge.md)")
