"""Built-in datasets, generated locally without network access.

``objects``: 12 drawn objects on 10 backgrounds (``models/tiny_scenes``); its test set holds combinations of object,
colour and place that never occur in training. ``digits``: real scans of 8 x 8 pixels, the test set of "Optical
recognition of handwritten digits", UCI Machine Learning Repository, E. Alpaydin and C. Kaynak,
https://doi.org/10.24432/C50P49, CC BY 4.0 (``digits.csv.gz``, as distributed with scikit-learn; upscaled here).
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import random
import secrets
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from lib.errors import InvalidValue
from lib.train.data import DataSet
from lib.train.split import order, share_of

DIGITS = Path(__file__).parent / "digits.csv.gz"
TRAIN, TEST = 50, 25  # drawn images per class
SEED = 0
Progress = Callable[[str, float], None]


def make(name: str, folder: Path, progress: Progress | None = None) -> DataSet:
    """Returns the dataset in ``folder``; create it first if necessary. Raises InvalidValue for a name not in ``MAKERS``.

    It is built in a temporary folder and renamed, so concurrent calls are safe.
    """
    if name not in MAKERS:
        raise InvalidValue("dataset", name, " or ".join(MAKERS))
    if (folder / "data.json").is_file():
        return DataSet.load(folder)
    temporary = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        temporary.mkdir(parents=True)
        MAKERS[name](temporary / "pictures", progress or (lambda stage, share: None))
        DataSet.scan(temporary / "pictures", temporary, progress).save()
        try:
            os.rename(temporary, folder)
        except OSError:  # another process was faster
            if not (folder / "data.json").is_file():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return DataSet.load(folder)


def _objects(pictures: Path, progress: Progress) -> None:
    """Draw 128 x 128 JPEGs: per class, ``TRAIN`` ordinary scenes and ``TEST`` held-out ones."""
    from models.tiny_scenes.renderer import render
    from models.tiny_scenes.scenes import OBJECTS, all_scenes

    for number, name in enumerate(OBJECTS):
        progress("Drawing the pictures", number / len(OBJECTS))
        for part, count in (("train", TRAIN), ("test", TEST)):
            scenes = [s for s in all_scenes() if s.object == name and s.held_out == (part == "test")]
            scenes.sort(key=lambda s: hashlib.sha256(f"{SEED}/{s.prompt}".encode()).hexdigest())
            (pictures / part / name).mkdir(parents=True)
            for k in range(count):  # a repeated scene gives a new image: its details are random
                image = render(scenes[k % len(scenes)], random.Random(f"{SEED}/{name}/{part}/{k}"))
                image.save(pictures / part / name / f"{k:04}.jpg", quality=92)


def _digits(pictures: Path, progress: Progress) -> None:
    """Write 32 x 32 PNGs, each scanned pixel repeated 4 x 4. A fifth of each class, drawn by hash, is the test set."""
    with gzip.open(DIGITS, "rt") as file:
        rows = np.array([[int(float(x)) for x in row] for row in csv.reader(file)])
    scans = np.rint(rows[:, :64].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    by_class = defaultdict(list)
    for number, label in enumerate(rows[:, 64]):
        by_class[int(label)].append(number)
    for label, numbers in sorted(by_class.items()):
        progress("Writing the scans", label / 10)
        numbers.sort(key=lambda n: order(SEED, hashlib.sha256(scans[n].tobytes()).hexdigest()))
        tests = share_of(0.2, len(numbers))
        for part, chosen in (("test", numbers[:tests]), ("train", numbers[tests:])):
            (pictures / part / str(label)).mkdir(parents=True)
            for number in chosen:
                image = Image.fromarray(scans[number].repeat(4, axis=0).repeat(4, axis=1))
                image.save(pictures / part / str(label) / f"{number:04}.png")


MAKERS: dict[str, Callable[[Path, Progress], None]] = {"objects": _objects, "digits": _digits}
