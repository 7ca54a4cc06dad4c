"""Splits a dataset into training, validation and test images, per class and by seed, identically on every machine.

Does not use a random module: images are ordered by a hash of the seed and their bytes, so neither file names nor the
Python version matter. Identical images are kept together, so that none is used for both training and validation.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lib.errors import InvalidValue


class Item(Protocol):
    label: int
    part: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Split:
    """Ascending indices into the dataset's items."""

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]


def order(seed: int | str, sha256: str) -> str:
    """Returns the sort key of an image within its class."""
    return hashlib.sha256(f"{seed}/{sha256}".encode()).hexdigest()


def share_of(share: float, number: int) -> int:
    """Returns how many of ``number`` images a share is: at least 1, and at most ``number`` - 1."""
    return min(max(1, int(share * number + 0.5)), number - 1)


def split(items: Sequence[Item], validation: float = 0.1, seed: int = 0) -> Split:
    """Keep the given splits; without a given val, hold out ``validation`` of each class from train.

    Raises InvalidValue if ``validation`` is not between 0 and 1.
    """
    if not 0 < validation < 1:
        raise InvalidValue("validation", validation, "a share above 0 and below 1, such as 0.1")
    parts: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for index, item in enumerate(items):
        parts[item.part or "train"].append(index)
    if not parts["val"]:
        parts["val"] = _cut(items, parts["train"], validation, seed)
        held_out = set(parts["val"])
        parts["train"] = [index for index in parts["train"] if index not in held_out]
    return Split(*(tuple(sorted(parts[name])) for name in ("train", "val", "test")))


def _cut(items: Sequence[Item], train: list[int], validation: float, seed: int) -> list[int]:
    classes: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    labels: dict[str, set[int]] = defaultdict(set)
    for index in train:
        item = items[index]
        classes[item.label][item.sha256].append(index)
        labels[item.sha256].add(item.label)
    held_out: list[int] = []
    for groups in classes.values():
        number = sum(map(len, groups.values()))
        if len(groups) < 2:  # a single distinct image is needed for training
            continue
        target, chosen = share_of(validation, number), []
        # an image with two labels has no correct answer: it stays in train with all its copies
        candidates = [groups[sha] for sha in sorted(groups, key=lambda sha: order(seed, sha)) if len(labels[sha]) == 1]
        for group in candidates:
            if len(chosen) + len(group) <= target:
                chosen += group
        if not chosen and candidates:
            chosen = min(candidates, key=len)
        held_out += chosen
    return held_out
