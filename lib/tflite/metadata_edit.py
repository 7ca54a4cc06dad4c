"""Creates and changes metadata, and validates every value. Independent of files."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from lib.errors import InvalidValue
from lib.tflite.metadata_fields import Metadata, TensorNote, float32

MAX_TEXT, MAX_LABEL, MAX_LABELS, MAX_CHANNELS = 10_000, 255, 100_000, 16  # labels may be folder names


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
    """Returns metadata for a classifier with one RGB image as input and probabilities of ``labels`` as output.

    Raises InvalidValue, also if mean or std differ by channel, since MediaPipe rejects such files.
    """
    for side, values in (("mean", mean), ("std", std)):
        if len(set(values)) > 1:
            raise InvalidValue(
                side, list(values), "one value for all channels; put per-channel normalisation into the graph"
            )
    image = TensorNote(name="image", description="The picture, RGB.", content="image RGB", range=(0.0, 255.0))
    scores = TensorNote(name="probability", description="Of each label.", content="feature", range=(0.0, 1.0))
    texts = {"name": name, "author": author, "license": license, "description": description}
    values = {"labels": labels, "mean": mean, "std": std}
    return edited(Metadata(inputs=(image,), outputs=(scores,)), texts | values)


def edited(metadata: Metadata, changes: dict[str, Any]) -> Metadata:
    """Returns ``metadata`` with ``changes``, which maps names of ``FIELDS`` to values.

    Raises InvalidValue for unknown names and invalid values. The number of labels must not change. If there were none,
    ``write`` compares it to the output.
    """
    for name in changes:
        if name not in FIELDS:
            near = get_close_matches(str(name), FIELDS, 1)
            raise InvalidValue("field", name, ", ".join(FIELDS) + (f". Did you mean {near[0]}?" if near else ""))
    changes = {name: value for name, value in changes.items() if not _same(getattr(metadata, name), value)}
    result = replace(metadata, **{name: FIELDS[name](name, value) for name, value in changes.items()})
    before, after = len(metadata.labels), len(result.labels)
    if before and before != after:
        raise InvalidValue("the number of labels", after, f"{before:,}, one for each class of the file")
    if {"mean", "std"} & set(changes) and len(result.mean) != len(result.std):
        counts = f"{len(result.mean)} and {len(result.std)} numbers"
        raise InvalidValue("mean and std", counts, "one number each, or one per channel each; give both")
    return result


def _same(before: Any, value: Any) -> bool:
    """Whether a value is unchanged. Unchanged values are not validated: old label files have empty lines and spaces."""
    return before == (tuple(value) if isinstance(before, tuple) and isinstance(value, list) else value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or any(unicodedata.category(c) == "Cs" for c in value):
        raise InvalidValue(name, value, "text")
    if len(value) > MAX_TEXT:
        raise InvalidValue(name, value, f"at most {MAX_TEXT:,} characters; it has {len(value):,}")
    return value


def _labels(name: str, value: Any) -> tuple[str, ...]:
    """Duplicates are allowed, since some lists have them (ImageNet has two cranes)."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidValue(name, value, "a list of strings")
    if not 0 < len(value) <= MAX_LABELS:
        raise InvalidValue(name, f"{len(value):,} labels", f"1 to {MAX_LABELS:,}")
    for label in value:
        if not isinstance(label, str) or label != label.strip() or not 0 < len(label) <= MAX_LABEL:
            raise InvalidValue("a label", label, f"1 to {MAX_LABEL} characters without leading or trailing spaces")
        if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in label):
            raise InvalidValue("a label", label, "one line without control characters: the file has one label per line")
    return tuple(value)


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    numbers = value if isinstance(value, Sequence) else [value]
    valid = not isinstance(numbers, str) and 0 < len(numbers) <= MAX_CHANNELS
    if not valid or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in numbers):
        raise InvalidValue(name, value, "a number, or a list with one per channel")
    rounded = float32(numbers, name)
    if name == "std" and any(v <= 0 for v in rounded):
        raise InvalidValue(name, value, "numbers above 0: pictures are divided by it")
    return rounded


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
