"""Model Maker's options: supported models, hyperparameters, and their equivalents in a recipe."""

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
    """``name`` is that of a backbone, ``image_size`` is in pixels per side."""

    name: str
    image_size: int


class SupportedModels(Enum):
    """The weights of EFFICIENTNET_LITE0 are installed, those of the others are downloaded from the Hub.

    Image sizes are Model Maker's, rounded up to a multiple of 8.
    """

    EFFICIENTNET_LITE0 = ModelSpec("efficientnet_lite0", 224)
    EFFICIENTNET_LITE2 = ModelSpec("tf_efficientnet_lite2.in1k", 264)
    EFFICIENTNET_LITE4 = ModelSpec("efficientnet_lite4", 304)
    MOBILENET_V2 = ModelSpec("mobilenetv2_100.ra_in1k", 224)
    MOBILENET_V3_SMALL = ModelSpec("mobilenetv3_small", 224)


# Model Maker's hyperparameters without an equivalent, with the only accepted value: the one that has no effect
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
    """``epochs`` 0 uses the technique's default: 3 with ``do_fine_tuning``, otherwise 30 much faster ones.

    Without ``do_fine_tuning`` only the head is trained, on features computed once, so ``do_data_augmentation`` requires
    it. ``learning_rate`` is that of the backbone, see ``lib/train/recipe.py``. ``export_dir`` receives the run and the
    exported files; it defaults to a new temporary folder. ``seed`` is an addition to Model Maker's API.
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
        """Raises InvalidValue for an unknown name or an unsupported value."""
        _only(self, others | ({} if shuffle is True else {"shuffle": shuffle}), WITHOUT_EQUAL | {"shuffle": True})
        self.learning_rate, self.batch_size, self.epochs, self.seed = learning_rate, batch_size, epochs, seed
        self.do_fine_tuning, self.do_data_augmentation = do_fine_tuning, do_data_augmentation
        self.export_dir = str(export_dir) or tempfile.mkdtemp(prefix="exported_model-")


@dataclass(init=False, slots=True)
class ModelOptions:
    """``image_size``, in pixels per side, is an addition to Model Maker's API: 0 uses the model's own size.

    A smaller size trains faster.
    """

    image_size: int

    def __init__(self, *, image_size: int = 0, **others: Any) -> None:
        """``dropout_rate``, which the guides set, is accepted with a warning: the head has no dropout.

        Raises InvalidValue for other names.
        """
        if others.pop("dropout_rate", 0):
            warnings.warn("ModelOptions: dropout_rate is ignored; the head is a single linear layer.", stacklevel=2)
        _only(self, others, {"alpha": 1.0})
        self.image_size = image_size


@dataclass(slots=True)
class ImageClassifierOptions:
    supported_model: SupportedModels
    model_options: ModelOptions | None = None
    hparams: HParams | None = None

    def recipe(self) -> Recipe:
        """Convert to a recipe. Raises InvalidValue for a value out of range."""
        if not isinstance(self.supported_model, SupportedModels):
            names = ", ".join(f"SupportedModels.{model.name}" for model in SupportedModels)
            raise InvalidValue("supported_model", self.supported_model, names)
        hparams, spec = self.hparams or HParams(), self.supported_model.value
        self.hparams = hparams
        fine_tuning = hparams.do_fine_tuning
        if hparams.do_data_augmentation and not fine_tuning:
            raise InvalidValue("do_data_augmentation", True, "False, unless do_fine_tuning=True")
        return Recipe(
            backbone=spec.name,
            technique="fine_tuning" if fine_tuning else "feature_extraction",
            epochs=hparams.epochs,
            batch_size=hparams.batch_size,
            learning_rate=hparams.learning_rate,
            augmentation=hparams.do_data_augmentation,
            image_size=(self.model_options or ModelOptions()).image_size or spec.image_size,
            seed=hparams.seed,
        )


def _only(options: Any, given: dict[str, Any], equal: dict[str, Any]) -> None:
    """Raises InvalidValue for unknown names, and for values that differ from the only supported one in ``equal``."""
    kind = type(options).__name__
    for name, value in given.items():
        if name not in equal:
            raise InvalidValue(kind, name, ", ".join(type(options).__slots__))
        if value != equal[name] or isinstance(value, bool) != isinstance(equal[name], bool):
            raise InvalidValue(f"{kind}: {name}", value, f"{equal[name]!r}, or omit it: it has no equivalent (docs/edge.md)")
