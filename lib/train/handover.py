"""Packs a run's images as a zip of samples for the converter and the inspector, to evaluate or calibrate its model.

Each image is a PNG of exactly the network's input, so that differences in resizing cannot affect the result. Runs in a
child process.
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
MAX_PICTURES = 4096  # larger sets are sampled evenly
CALIBRATING = 400  # training images: half for calibration, half to evaluate the converted model


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplesFile:
    """A zip of PNGs. ``bytes`` is its size, ``count`` the number of images per split, ``classes`` in output order.

    ``preprocessing`` describes the model's input, in the format of ``lib/model_inputs/preprocessing.py``.
    """

    path: str
    bytes: int
    classes: list[str]
    count: dict[str, int]
    preprocessing: dict[str, Any]


def validation_samples(run: Run, data: DataSet, out: Path, parts: Sequence[str] = PARTS) -> SamplesFile:
    """Write ``out/samples.zip``: ``<part>/<class>/<number>.png``, and the classes in output order.

    Images are RGB 0 to 255 at the run's size. Raises InvalidValue for an unknown split, JobFailed if the run has no classes
    yet or the dataset changed since, InvalidFile if an image changed.
    """
    for part in parts:
        if part not in PARTS:
            raise InvalidValue("parts", part, " and ".join(PARTS))
    recipe, split = _seen(run, data)
    chosen = {part: split.val if part == "validation" else split.test for part in parts}
    samples = [(part, index) for part, indices in chosen.items() for index in indices]
    if not samples:
        raise JobFailed(f"This data set has no {' and no '.join(parts)} pictures.")
    if len(samples) > MAX_PICTURES:
        samples = [samples[k] for k in np.linspace(0, len(samples) - 1, MAX_PICTURES).astype(int)]
    count = dict.fromkeys(parts, 0) | Counter(part for part, _ in samples)
    return _write(data, recipe, samples, out, dict(count), preprocessing(recipe))


def calibration_samples(run: Run, data: DataSet, out: Path, most: int = CALIBRATING) -> SamplesFile:
    """Write at most ``most`` training images, sampled at random and balanced by class, for ``lib/train/edge``.

    The layout is always channels-last, for any framework. Raises the same errors as ``validation_samples``.
    """
    recipe, split = _seen(run, data)
    rng, classes = np.random.default_rng(recipe.seed), defaultdict[int, list[int]](list)
    for index in rng.permutation(split.train).tolist():
        classes[data.items[index].label].append(index)
    rounds = zip_longest(*classes.values())  # round-robin over the classes
    drawn = sorted([index for group in rounds for index in group if index is not None][:most])
    samples, count = [("training", index) for index in drawn], {"training": len(drawn)}
    return _write(data, recipe, samples, out, count, preprocessing(recipe) | {"layout": "NHWC"})


def _seen(run: Run, data: DataSet) -> tuple[Recipe, Split]:
    """Returns the run's recipe and split. Raises JobFailed if the dataset is no longer the one the run was trained on."""
    record = run.record()
    recipe, classes = record.parsed_recipe(), list(record.classes)
    if not classes:
        raise JobFailed("This run has no classes yet: it ended before completing an epoch.")
    if record.data.fingerprint != data.fingerprint or classes != list(data.classes):
        raise JobFailed("The data set has changed since this run. Train again first.")
    return recipe, data.split(recipe.validation, recipe.seed)


def _write(
    data: DataSet, recipe: Recipe, every: list[tuple[str, int]], out: Path, count: dict[str, int], how: dict[str, Any]
) -> SamplesFile:
    """Write the images in ``every``, a list of (split, index)."""
    array, classes = pixels(data, recipe.image_size, data.cache), data.classes
    with zipfile.ZipFile(out / NAME, "x", zipfile.ZIP_STORED) as file:  # PNGs are already compressed
        file.writestr(CLASSES, "".join(f"{name}\n" for name in classes))
        for part, index in every:
            image = io.BytesIO()
            Image.fromarray(np.asarray(array[index])).save(image, "PNG")
            file.writestr(f"{part}/{classes[data.items[index].label]}/{index:06}.png", image.getvalue())
    path = out / NAME
    return SamplesFile(path=str(path), bytes=path.stat().st_size, classes=list(classes), count=count, preprocessing=how)


def preprocessing(recipe: Recipe) -> dict[str, Any]:
    """Returns the input format of the exported network (``lib/train/export.py``), which includes the normalization."""
    return {
        "size": [recipe.image_size, recipe.image_size],
        "layout": "NHWC" if recipe.framework == "keras" else "NCHW",
        "channels": "RGB",
        "normalization": "0..255",
        "crop": "squash",
    }
