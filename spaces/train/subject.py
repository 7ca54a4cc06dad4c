"""What a visitor has chosen on the page, and how form values become a recipe. Independent of gradio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lib.errors import InvalidValue, WorkbenchError
from lib.train.recipe import Recipe

# The page's labels of the form's fields, in the order of the form.
LABELS = {
    "technique": "Technique",
    "epochs": "Epochs",
    "image_size": "Size",
    "framework": "Framework",
    "backbone": "Backbone",
    "weights": "Weights",
    "batch_size": "Batch size",
    "learning_rate": "Learning rate",
    "seed": "Seed",
    "mixed_precision": "Mixed precision",
    "early_stop": "Early stop",
    "validation": "Validation share",
    "augmentation": "Augmentation",
    "class_weights": "Class weights",
    "freeze_batch_norm": "Freeze batch norm",
}
OTHERS = {"name": "Name", "dataset": "Pictures", "runs": "Runs", "weight_decay": "Weight decay", "threads": "Threads"}
WORDS = {
    "fine_tuning": "Fine-tuning",
    "feature_extraction": "Feature extraction",
    "pytorch": "PyTorch",
    "keras": "Keras",
    "pretrained": "pretrained",
    "random": "random",
    "no": "off",
    True: "on",
    False: "off",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """Ids of the data set and the run that a page shows; "" for none."""

    data: str = ""
    run: str = ""


def recipe(values: Mapping[str, Any]) -> Recipe:
    """Parse the form's values as a Recipe. Raises InvalidValue, also for an empty field."""
    for field, value in values.items():
        if value is None or value == "":
            raise InvalidValue(field, "", "a value")
    return Recipe.parse(values)


def label(field: str) -> str:
    return LABELS.get(field) or OTHERS.get(field) or field.replace("_", " ").capitalize()


def word(value: Any) -> str:
    """Return a recipe value as the page shows it."""
    if isinstance(value, str | bool) and value in WORDS:
        return WORDS[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def wrong(error: WorkbenchError) -> str:
    """Return an error message that uses the page's labels."""
    if not isinstance(error, InvalidValue):
        return error.message
    if error.field == "dataset" and error.given == "":
        return "Choose pictures first."
    if error.given == "":
        return f"{label(error.field)} is empty."
    allowed = error.allowed
    for field in ("feature_extraction", "fine_tuning"):
        allowed = allowed.replace(field, f"“{WORDS[field]}”")
    if isinstance(error.given, bool):
        allowed = allowed.replace("true", "on").replace("false", "off")
    return f"{label(error.field)} cannot be {word(error.given)}. Allowed: {allowed}."
