"""A training's hyperparameters: every value that affects the result, validated at once and stored in the run's record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from lib.errors import InvalidValue

FRAMEWORKS = ("pytorch", "keras")
TECHNIQUES = ("fine_tuning", "feature_extraction")
PRECISIONS = ("no", "bf16", "fp16")
WEIGHTS = ("pretrained", "random")
DEFAULT_BACKBONE = "efficientnet_lite0"
# default epochs; training only the head takes hundredths of a second per epoch
EPOCHS = {"fine_tuning": 3, "feature_extraction": 30}
# learning-rate factor of the head, which is random while the backbone is pretrained (measured: docs/decisions.md)
HEAD_FACTOR = {"fine_tuning": 10.0, "feature_extraction": 5.0}
MAX_SEED = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One training. ``epochs`` 0 uses the technique's default (``EPOCHS``).

    ``learning_rate`` is that of the backbone; the head's is ``HEAD_FACTOR`` times as high: 10, or 5 with feature_extraction,
    which trains the head only. ``early_stop`` ends training after that many epochs without a new best epoch; 0 disables it.
    ``validation`` is the share of the training images to hold out if the dataset has no validation split. ``threads`` 0 uses
    every core; the record stores the actual number, because a different one changes the rounding.
    """

    framework: str = "pytorch"
    backbone: str = DEFAULT_BACKBONE
    weights: str = "pretrained"
    technique: str = "fine_tuning"
    epochs: int = 0
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    image_size: int = 128
    seed: int = 0
    mixed_precision: str = "no"
    augmentation: bool = False
    class_weights: bool = False
    early_stop: int = 0
    freeze_batch_norm: bool = True
    validation: float = 0.1
    workers: int = 0
    threads: int = 0

    def __post_init__(self) -> None:
        _one_of("framework", self.framework, FRAMEWORKS)
        _one_of("technique", self.technique, TECHNIQUES)
        _one_of("mixed_precision", self.mixed_precision, PRECISIONS)
        _one_of("weights", self.weights, WEIGHTS)
        if not isinstance(self.backbone, str) or not self.backbone:
            raise InvalidValue("backbone", self.backbone, "a name from the list of backbones")
        _whole("epochs", self.epochs, 0, 1000)
        object.__setattr__(self, "epochs", self.epochs or EPOCHS[self.technique])
        _whole("batch_size", self.batch_size, 2, 1024)
        _whole("image_size", self.image_size, 32, 512)
        if self.image_size % 8:
            raise InvalidValue("image_size", self.image_size, "a multiple of 8 from 32 to 512")
        _whole("seed", self.seed, 0, MAX_SEED)
        _whole("early_stop", self.early_stop, 0, 1000)
        _whole("workers", self.workers, 0, 64)
        _whole("threads", self.threads, 0, 1024)
        _between("learning_rate", self.learning_rate, 1e-7, 1.0)
        _between("weight_decay", self.weight_decay, 0.0, 1.0)
        _between("validation", self.validation, 0.01, 0.9)
        for name in ("augmentation", "class_weights", "freeze_batch_norm"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidValue(name, getattr(self, name), "true or false")
        if self.technique == "feature_extraction" and self.augmentation:
            raise InvalidValue("augmentation", True, "false with feature_extraction, whose features are computed once")
        if self.framework == "keras" and self.mixed_precision == "fp16":
            raise InvalidValue("mixed_precision", "fp16", "no or bf16 with framework keras")

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Recipe:
        """Parse JSON or form values: numbers may be strings or whole floats, empty values use the default.

        Raises InvalidValue for an unknown name or a value out of range.
        """
        known = {f.name: f for f in fields(cls)}
        parsed: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                raise InvalidValue("recipe", name, ", ".join(known))
            if value is None or value == "":
                continue
            parsed[name] = _READ.get(str(known[name].type), lambda _, v: v)(name, value)
        return cls(**parsed)

    @property
    def head_learning_rate(self) -> float:
        return self.learning_rate * HEAD_FACTOR[self.technique]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _read_int(name: str, value: Any) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # JSON integers have no size limit
        number = 0.5
    if isinstance(value, bool) or number != number or number in (float("inf"), float("-inf")) or number != int(number):
        raise InvalidValue(name, value, "a whole number")
    return int(value) if isinstance(value, str) and value.strip().lstrip("-").isdigit() else int(number)


def _read_float(name: str, value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidValue(name, value, "a number") from None


def _read_bool(name: str, value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "1", "yes", "false", "0", "no"):
        return value.lower() in ("true", "1", "yes")
    return value


_READ = {"int": _read_int, "float": _read_float, "bool": _read_bool}


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidValue(name, value, ", ".join(allowed))


def _whole(name: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidValue(name, value, f"a whole number from {low} to {high}")


def _between(name: str, value: Any, low: float, high: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidValue(name, value, f"a number from {low:g} to {high:g}")
