"""Model Maker's Dataset: labelled pictures in a folder, or a part of them."""

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
    """``paths`` are the pictures' and ``labels`` their classes by number, both in one order."""

    def __init__(self, data: DataSet, indices: Sequence[int]) -> None:
        self.data, self.indices = data, tuple(indices)

    @classmethod
    def from_folder(cls, dirname: str | os.PathLike[str], shuffle: bool = True) -> Dataset:
        """``dirname`` holds one folder of pictures a class. Damaged pictures are left out and listed in ``data.problems``.

        ``shuffle`` changes nothing: ``split`` draws by class, the same pictures every time. Raises InvalidFile where there
        are not 2 classes of 2 usable pictures each.
        """
        del shuffle
        data = DataSet.scan(Path(dirname))
        return cls(data, range(len(data.items)))

    def split(self, fraction: float) -> tuple[Dataset, Dataset]:
        """``fraction`` of each class, and the rest. Equal pictures stay together; a class of one stays in the first.

        Raises InvalidValue for a fraction that is not between 0 and 1, and where there are too few pictures for two parts.
        """
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction < 1:
            raise InvalidValue("fraction", fraction, "a number above 0 and below 1, such as 0.9")
        items = [replace(self.data.items[index], part="") for index in self.indices]
        found = split(items, 1 - fraction)
        if not found.val:
            raise InvalidValue("fraction", fraction, "none: there are too few pictures to split. Add some")
        first, rest = ([self.indices[k] for k in part] for part in (found.train, found.val))
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
    """Both as one data set with these two parts, its data.json in a folder of ``home`` that is named by its content.

    Raises InvalidFile where their classes differ or a picture is in both.
    """
    if train.label_names != validation.label_names:
        shown = "; ".join(", ".join(names[:5]) for names in (train.label_names, validation.label_names))
        raise InvalidFile(f"The classes of train_data and validation_data differ ({shown}). Use the same folders in both.")
    if both := len(set(train.paths) & set(validation.paths)):
        raise InvalidFile(
            f"{both} pictures are in both train_data and validation_data. Use the two parts of data.split(0.9)."
        )
    top = Path(os.path.commonpath([train.data.folder, validation.data.folder]))
    items = sorted(
        (_moved(part, index, name, top) for part, name in ((train, "train"), (validation, "val")) for index in part.indices),
        key=lambda item: item.path,
    )
    content = hashlib.sha256(repr([str(top), *map(astuple, items)]).encode()).hexdigest()
    return DataSet(top, home / f"data-{content[:16]}", train.label_names, items, [])


def _moved(data: Dataset, index: int, part: str, top: Path) -> Item:
    """One of its items as part of a data set whose folder is ``top``."""
    path = data.data.path(index).relative_to(top).as_posix()
    return replace(data.data.items[index], path=path, part=part)
