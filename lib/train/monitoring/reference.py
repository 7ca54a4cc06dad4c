"""What pictures of the training look like: features of a random sample, made once for a run. In a child process only.

Two kinds. *Inputs* are features of an EfficientNet-Lite0 that knows ImageNet and nothing of the run; *model* are what the
run's own head sees. Of the first a random projection is kept, of the others principal components.
"""

from __future__ import annotations

import json
import secrets
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import JobFailed
from lib.train import pictures
from lib.train.data import DataSet
from lib.train.monitoring.drift import COMPONENTS, Basis
from lib.train.monitoring.drift_state import ReferenceInfo
from lib.train.recipe import Recipe
from lib.train.runs import Run, read_json
from lib.train.schema import parse, to_json

FOLDER = "watch"  # in the run's folder
ARRAYS, ABOUT = "reference.npz", "reference.json"
VERSION = 1  # of both, and of what features are computed from: one of another version is made anew
MAX_PICTURES, MIN_PICTURES = 600, 30  # pictures: with 400, unchanged windows of 200 were flagged twice as often
SIDE = 128  # pixels: of the pictures for the ImageNet features
INPUTS = 128  # numbers that they are reduced to
ROWS = 32  # pictures decoded at once
# what NumPy raises for a file that is not ours, or not whole
DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


class ImageNetFeatures:
    """Of a network that was never trained on the run's pictures."""

    def __init__(self) -> None:
        from lib.train.backbones import BACKBONES
        from lib.train.torch_training.classifier import TorchClassifier
        from lib.train.torch_training.network import build_network

        network, _ = build_network(Recipe(), BACKBONES["efficientnet_lite0"], 1, trained=True)
        self._classifier = TorchClassifier(network)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [n, SIDE, SIDE, 3] -> float32 [n, 1280]."""
        return self._classifier.embeddings(pixels)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """``inputs`` float32 [m, INPUTS] and ``model`` float32 [m, COMPONENTS] of the sample, and the bases of both."""

    id: str
    inputs_basis: Basis
    model_basis: Basis
    inputs: np.ndarray
    model: np.ndarray

    @classmethod
    def load(cls, folder: Path) -> Reference | None:
        """From a run's ``watch/``; None where there is none, or a damaged one."""
        try:
            with np.load(folder / ARRAYS, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            bases = [Basis(arrays[f"{kind}_mean"], arrays[f"{kind}_rows"]) for kind in ("inputs", "model")]
            found = cls(str(arrays["id"]), *bases, arrays["inputs"], arrays["model"])
            fit = all(basis.fits(kept) for basis, kept in zip(bases, (found.inputs, found.model), strict=True))
            return found if fit else None
        except DAMAGED:
            return None

    def save(self, folder: Path) -> None:
        """Whole or not at all. Fails where the run's folder is gone."""
        folder.mkdir(exist_ok=True)
        arrays = {"id": np.array(self.id), "inputs": self.inputs, "model": self.model}
        for kind, basis in (("inputs", self.inputs_basis), ("model", self.model_basis)):
            arrays |= {f"{kind}_mean": basis.mean, f"{kind}_rows": basis.rows}
        unfinished = folder / f".{secrets.token_hex(4)}.npz"
        try:
            np.savez(unfinished, **arrays)
            unfinished.replace(folder / ARRAYS)
        finally:
            unfinished.unlink(missing_ok=True)


def read_info(folder: Path) -> ReferenceInfo | None:
    """Of a run's folder for monitoring; None where there is no reference, or one by another version of this code."""
    info = parse(ReferenceInfo, read_json(folder / ABOUT))
    return info if info is not None and info.version == VERSION else None


def draw(labels: Sequence[int], indices: Sequence[int], count: int, rng: np.random.Generator) -> list[int]:
    """``count`` of ``indices`` at random, each class with its share of them, in random order.

    A folder's order is the order of its classes: its first pictures would be a reference that misses most of them.
    """
    indices = rng.permutation(np.asarray(indices, dtype=np.int64))
    classes = np.asarray([labels[i] for i in indices])
    place = np.empty(len(indices))  # of each picture in its class, as a share of the class
    for label in np.unique(classes):
        mine = np.flatnonzero(classes == label)
        place[mine] = (np.arange(len(mine)) + rng.random()) / len(mine)
    return rng.permutation(indices[np.argsort(place, kind="stable")[:count]]).tolist()


def make(run: Run, data: DataSet, network: Any, features: ImageNetFeatures, progress: Callable[..., None]) -> ReferenceInfo:
    """Writes the run's reference. ``network`` is the run's ``Loaded``.

    Raises JobFailed where the data set is no longer the one that the run saw, or too small.
    """
    record = run.record()
    recipe = record.parsed_recipe()
    if record.data.fingerprint != data.fingerprint:
        raise JobFailed("The data set was changed since this run: there is nothing to compare new pictures with.")
    rng = np.random.default_rng(recipe.seed)
    split = data.split(recipe.validation, recipe.seed)
    drawn = draw([item.label for item in data.items], split.train, MAX_PICTURES, rng)
    if len(drawn) < MIN_PICTURES:
        raise JobFailed(f"The training had {len(drawn)} pictures; drift is told from {MIN_PICTURES} on.")
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for at in range(0, len(drawn), ROWS):
        progress("Looking at pictures of the training", at / len(drawn))
        some = [pictures.load(data.path(index)) for index in drawn[at : at + ROWS]]
        parts.append(features_of(some, network, features))
    inputs, model = (np.concatenate(kind) for kind in zip(*parts, strict=True))
    bases = Basis.random(inputs.shape[1], INPUTS, rng), Basis.principal(model, COMPONENTS)
    found = Reference(secrets.token_hex(8), *bases, bases[0](inputs), bases[1](model))
    folder = run.folder / FOLDER
    found.save(folder)
    info = ReferenceInfo(id=found.id, count=len(drawn), weights=network.stamp, version=VERSION)
    unfinished = folder / f".{secrets.token_hex(4)}.json"
    unfinished.write_text(json.dumps(to_json(info)))
    unfinished.replace(folder / ABOUT)
    return info


def features_of(some: Sequence[np.ndarray], network: Any, features: ImageNetFeatures) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [h, w, 3] pictures -> the two kinds of features, float32 [n, d]."""
    small = np.stack([pictures.resize(picture, SIDE) for picture in some])
    own = np.stack([pictures.resize(picture, network.size) for picture in some])
    return features(small), network.classifier.embeddings(own)
