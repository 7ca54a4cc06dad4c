"""Model Maker's Dataset: labelled images in a folder, or a subset of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path

from lib.errors import InvalidFile, InvalidValue
from lib.train.data import DataSet, Item
from lib.train.split import split


class Dataset:
    """``paths`` and ``labels``, the class indices, are in the same order."""

    def __init__(self, data: DataSet, indices: Sequence[int]) -> None:
        self.data, self.indices = data, tuple(indices)

    @classmethod
    def from_folder(cls, dirname: str | os.PathLike[str], shuffle: bool = True) -> Dataset:
        """Load ``dirname``, which holds one folder of images per class. Damaged images are skipped, see ``data.problems``.

        ``shuffle`` is ignored: ``split`` draws per class and is deterministic. Raises InvalidFile unless there are at least
        2 classes with 2 usable images each.
        """
        del shuffle
        data = DataSet.scan(Path(dirname))
        return cls(data, range(len(data.items)))

    def split(self, fraction: float) -> tuple[Dataset, Dataset]:
        """Split off ``fraction`` of each class; returns it and the rest. Identical images stay together.

        A class with a single image stays in the first part. Raises InvalidValue for a fraction not between 0 and 1, or if
        there are too few images for two parts.
        """
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction < 1:
            raise InvalidValue("fraction", fraction, "a number above 0 and below 1, such as 0.9")
        items = [replace(self.data.items[index], part="") for index in self.indices]
        parts = split(items, 1 - fraction)
        if not parts.val:
            raise InvalidValue("fraction", fraction, "none, as there are too few pictures to split; add more")
        first, rest = ([self.indices[k] for k in part] for part in (parts.train, parts.val))
        return Dataset(self.data, first), Dataset(self.data, rest)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def size(self) -> int:
        return len(self.indices)

    @property
    def label_names(self) -> list[str]:
        return list(self.data.classes)

    @property
    def num_classes(self) -> int:
        return len(self.data.classes)

    @property
    def paths(self) -> list[Path]:
        return [self.data.path(index) for index in self.indices]

    @property
    def labels(self) -> list[int]:
        return [self.data.items[index].label for index in self.indices]


def combined(train: Dataset, validation: Dataset, home: Path) -> DataSet:
    """Combine both as the splits of one dataset. Its data.json is stored in a subfolder of ``home`` named by a content hash.

    Raises InvalidFile if their classes differ or an image is in both.
    """
    if train.label_names != validation.label_names:
        shown = "; ".join(", ".join(names[:5]) for names in (train.label_names, validation.label_names))
        raise InvalidFile(f"The classes of train_data and validation_data differ ({shown}). Use the same folders in both.")
    if overlap := len(set(train.paths) & set(validation.paths)):
        raise InvalidFile(
            f"{overlap} pictures are in both train_data and validation_data. Use the two parts of data.split(0.9)."
        )
    root = Path(os.path.commonpath([train.data.folder, validation.data.folder]))
    items = sorted(
        (
            _moved(part, index, name, root)
            for part, name in ((train, "train"), (validation, "val"))
            for index in part.indices
        ),
        key=lambda item: item.path,
    )
    content = hashlib.sha256(repr([str(root), *map(astuple, items)]).encode()).hexdigest()
    return DataSet(root, home / f"data-{content[:16]}", train.label_names, items, [])


def _moved(data: Dataset, index: int, part: str, top: Path) -> Item:
    """Returns an item as part of a dataset whose folder is ``top``."""
    path = data.data.path(index).relative_to(top).as_posix()
    return replace(data.data.items[index], path=path, part=part)
