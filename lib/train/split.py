"""Cuts a data set in training, validation and test pictures: by class and seed, the same on every machine.

No random module: pictures are ordered by a hash of the seed and their bytes, so neither names nor the
Python version matter. Identical pictures stay together, so that none is both learned and asked.
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
    """Indices into the data set's items, ascending."""

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]


def order(seed: int | str, sha256: str) -> str:
    """The place of a picture in its class: ascending text."""
    return hashlib.sha256(f"{seed}/{sha256}".encode()).hexdigest()


def share_of(share: float, number: int) -> int:
    """How many of ``number`` pictures a share is: at least 1, and at least 1 is left."""
    return min(max(1, int(share * number + 0.5)), number - 1)


def split(items: Sequence[Item], validation: float = 0.1, seed: int = 0) -> Split:
    """Given parts are kept; where no val is given, ``validation`` of each class is cut from train.

    Raises InvalidValue where ``validation`` is not between 0 and 1.
    """
    if not 0 < validation < 1:
        raise InvalidValue("validation", validation, "a share above 0 and below 1, such as 0.1")
    parts: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for index, item in enumerate(items):
        parts[item.part or "train"].append(index)
    if not parts["val"]:
        parts["val"] = _cut(items, parts["train"], validation, seed)
        taken = set(parts["val"])
        parts["train"] = [index for index in parts["train"] if index not in taken]
    return Split(*(tuple(sorted(parts[name])) for name in ("train", "val", "test")))


def _cut(items: Sequence[Item], train: list[int], validation: float, seed: int) -> list[int]:
    classes: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    labels: dict[str, set[int]] = defaultdict(set)
    for index in train:
        item = items[index]
        classes[item.label][item.sha256].append(index)
        labels[item.sha256].add(item.label)
    taken: list[int] = []
    for groups in classes.values():
        number = sum(map(len, groups.values()))
        if len(groups) < 2:  # one picture, however many copies: it is needed for training
            continue
        wanted, mine = share_of(validation, number), []
        # a picture under two classes has no right answer: it stays in train with all its copies
        free = [groups[sha] for sha in sorted(groups, key=lambda sha: order(seed, sha)) if len(labels[sha]) == 1]
        for group in free:
            if len(mine) + len(group) <= wanted:
                mine += group
        if not mine and free:
            mine = min(free, key=len)
        taken += mine
    return taken
