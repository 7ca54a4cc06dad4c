"""A run's pictures as a zip of samples: what the converter and the inspector judge its model on, or calibrate it on.

Each is a PNG of exactly what the network saw, so that no other way of resizing comes between. Runs in a child process.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lib.errors import InvalidValue, JobFailed
from lib.train.data import DataSet, Split
from lib.train.pixel_cache import pixels
from lib.train.recipe import Recipe
from lib.train.runs import Run

PARTS = ("validation", "test")
NAME, CLASSES = "samples.zip", "classes.txt"
MAX_PICTURES = 4096  # pictures; of more, evenly drawn ones
CALIBRATING = 400  # training pictures: half of them give ranges, half judge what is made of the model


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplesFile:
    """A zip of PNGs. ``bytes`` is its size, ``count`` the number of pictures by part, ``classes`` in the network's order.

    ``preprocessing`` is how a model takes them, as ``lib/model_inputs/preprocessing.py`` reads it.
    """

    path: str
    bytes: int
    classes: list[str]
    count: dict[str, int]
    preprocessing: dict[str, Any]


def validation_samples(run: Run, data: DataSet, out: Path, parts: Sequence[str] = PARTS) -> SamplesFile:
    """Writes ``out/samples.zip``: ``<part>/<class>/<number>.png``, and the classes in the network's order.

    Pictures are RGB of 0 to 255 at the run's size. Raises InvalidValue for another part, JobFailed where the run has no
    classes yet or the data set is no longer the one that it saw, InvalidFile where a picture was changed.
    """
    for part in parts:
        if part not in PARTS:
            raise InvalidValue("parts", part, " and ".join(PARTS))
    recipe, split = _seen(run, data)
    chosen = {part: split.val if part == "validation" else split.test for part in parts}
    every = [(part, index) for part, indices in chosen.items() for index in indices]
    if not every:
        raise JobFailed(f"This data set has no {' and no '.join(parts)} pictures.")
    if len(every) > MAX_PICTURES:
        every = [every[k] for k in np.linspace(0, len(every) - 1, MAX_PICTURES).astype(int)]
    count = dict.fromkeys(parts, 0) | Counter(part for part, _ in every)
    return _write(data, recipe, every, out, dict(count), preprocessing(recipe))


def calibration_samples(run: Run, data: DataSet, out: Path, most: int = CALIBRATING) -> SamplesFile:
    """The same of at most ``most`` training pictures, drawn at random by class, for the files of ``lib/train/edge``.

    These take channels last, whatever the framework. Raises as ``validation_samples`` does.
    """
    recipe, split = _seen(run, data)
    rng, classes = np.random.default_rng(recipe.seed), defaultdict[int, list[int]](list)
    for index in rng.permutation(split.train).tolist():
        classes[data.items[index].label].append(index)
    turns = zip_longest(*classes.values())  # one of each class, then another one of each
    drawn = sorted([index for turn in turns for index in turn if index is not None][:most])
    every, count = [("training", index) for index in drawn], {"training": len(drawn)}
    return _write(data, recipe, every, out, count, preprocessing(recipe) | {"layout": "NHWC"})


def _seen(run: Run, data: DataSet) -> tuple[Recipe, Split]:
    """The run's recipe and parts. Raises JobFailed where the data set is no longer the one that the run saw."""
    record = run.record()
    recipe, classes = record.parsed_recipe(), list(record.classes)
    if not classes:
        raise JobFailed("This run has no classes yet: it ended before its first epoch did.")
    if record.data.fingerprint != data.fingerprint or classes != list(data.classes):
        raise JobFailed("The data set was changed since this run. Train again, then hand over.")
    return recipe, data.split(recipe.validation, recipe.seed)


def _write(
    data: DataSet, recipe: Recipe, every: list[tuple[str, int]], out: Path, count: dict[str, int], how: dict[str, Any]
) -> SamplesFile:
    """``every`` names each picture's part and its index."""
    array, classes = pixels(data, recipe.image_size, data.cache), data.classes
    with zipfile.ZipFile(out / NAME, "x", zipfile.ZIP_STORED) as file:  # PNGs are packed already
        file.writestr(CLASSES, "".join(f"{name}\n" for name in classes))
        for part, index in every:
            image = io.BytesIO()
            Image.fromarray(np.asarray(array[index])).save(image, "PNG")
            file.writestr(f"{part}/{classes[data.items[index].label]}/{index:06}.png", image.getvalue())
    path = out / NAME
    return SamplesFile(path=str(path), bytes=path.stat().st_size, classes=list(classes), count=count, preprocessing=how)


def preprocessing(recipe: Recipe) -> dict[str, Any]:
    """What the exported network takes (``lib/train/export.py``), normalization being inside."""
    return {
        "size": [recipe.image_size, recipe.image_size],
        "layout": "NHWC" if recipe.framework == "keras" else "NCHW",
        "channels": "RGB",
        "normalization": "0..255",
        "crop": "squash",
    }
