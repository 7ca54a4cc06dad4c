"""Metadata made and changed, with every value checked. Knows no files."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from lib.errors import InvalidValue
from lib.tflite.metadata_fields import Metadata, TensorNote

MOST_TEXT, MOST_LABEL, MOST_LABELS = 10_000, 200, 100_000


def classifier(
    labels: Sequence[str],
    *,
    name: str = "",
    author: str = "",
    license: str = "",
    description: str = "",
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
) -> Metadata:
    """For a classifier with one image as its input and probabilities, in the order of ``labels``, as its output."""
    image = TensorNote(name="image", description="The picture, RGB.", content="image RGB", range=(0.0, 255.0))
    scores = TensorNote(
        name="probability", description="The probability of each label.", content="feature", range=(0.0, 1.0)
    )
    changes = {"name": name, "author": author, "license": license, "description": description}
    values = {"labels": labels, "mean": mean, "std": std}
    return edited(Metadata(inputs=(image,), outputs=(scores,)), changes | values)


def edited(metadata: Metadata, changes: dict[str, Any]) -> Metadata:
    """``metadata`` with ``changes`` by name of ``FIELDS``. Raises InvalidValue for an unknown name or a wrong value.

    The number of labels has to fit the labelled output where its shape is known (``write`` knows it always).
    """
    for name in changes:
        if name not in FIELDS:
            raise InvalidValue("field", name, ", ".join(FIELDS))
    made = replace(metadata, **{name: FIELDS[name](name, value) for name, value in changes.items()})
    if "labels" in changes and metadata.labels and len(made.labels) != len(metadata.labels):
        raise InvalidValue("labels", f"{len(made.labels)} labels", f"{len(metadata.labels)}, as many as before")
    if bool(made.mean) != bool(made.std) or (len(made.mean) != len(made.std) and 1 not in (len(made.mean), len(made.std))):
        raise InvalidValue(
            "mean and std", f"{len(made.mean)} and {len(made.std)} numbers", "one each, or one a channel each"
        )
    return made


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidValue(name, value, "text")
    if len(value) > MOST_TEXT:
        raise InvalidValue(name, value, f"at most {MOST_TEXT:,} characters; it has {len(value):,}")
    return value


def _labels(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidValue(name, value, "a list of texts")
    if not 0 < len(value) <= MOST_LABELS:
        raise InvalidValue(name, f"{len(value)} labels", f"1 to {MOST_LABELS:,}")
    for label in value:
        if not isinstance(label, str) or label != label.strip() or not 0 < len(label) <= MOST_LABEL:
            raise InvalidValue("a label", label, f"a text of 1 to {MOST_LABEL} characters without spaces around it")
        if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in label):
            raise InvalidValue("a label", label, "one line: the file holds a label a line")
    return tuple(value)


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    import numpy as np

    given = [value] if isinstance(value, int | float) and not isinstance(value, bool) else value
    fine = isinstance(given, Sequence) and not isinstance(given, str) and len(given) in (1, 3)
    if not fine or not all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in given):
        raise InvalidValue(name, value, "one number, or three for red, green and blue")
    if name == "std" and any(v <= 0 for v in given):
        raise InvalidValue(name, value, "numbers above 0: pictures are divided by it")
    return tuple(float(np.float32(v)) for v in given)  # as the file holds them


FIELDS: dict[str, Callable[[str, Any], Any]] = {
    "name": _text,
    "description": _text,
    "version": _text,
    "author": _text,
    "license": _text,
    "labels": _labels,
    "mean": _numbers,
    "std": _numbers,
}
