"""Builds a run's drift reference once: features of a random sample of training images. Child processes only.

*Inputs* are features of an EfficientNet-Lite0 pretrained on ImageNet and independent of the run, stored as a random
projection. *Model* are the features that the run's own head receives, stored as principal components.
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
VERSION = 1  # of both files and of the feature computation; other versions are rebuilt
MAX_PICTURES, MIN_PICTURES = 600, 30  # with 400, windows without drift were flagged twice as often
SIDE = 128  # pixels per side of the images for the ImageNet features
INPUTS = 128  # dimensions that they are reduced to
ROWS = 32  # images decoded at once
# what NumPy raises for a foreign or incomplete file
DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


class ImageNetFeatures:
    """Features of a network that was not trained on the run's images."""

    def __init__(self) -> None:
        from lib.train.backbones import BACKBONES
        from lib.train.torch_training.classifier import TorchClassifier
        from lib.train.torch_training.network import build_network

        network, _ = build_network(Recipe(), BACKBONES["efficientnet_lite0"], 1, trained=True)
        self._classifier = TorchClassifier(network)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Compute uint8 [n, SIDE, SIDE, 3] -> float32 [n, 1280]."""
        return self._classifier.embeddings(pixels)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The projected features of the sample, ``inputs`` float32 [m, INPUTS] and ``model`` float32 [m, COMPONENTS]."""

    id: str
    inputs_basis: Basis
    model_basis: Basis
    inputs: np.ndarray
    model: np.ndarray

    @classmethod
    def load(cls, folder: Path) -> Reference | None:
        """Load from a run's ``watch/``; returns None if it is missing or damaged."""
        try:
            with np.load(folder / ARRAYS, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            bases = [Basis(arrays[f"{kind}_mean"], arrays[f"{kind}_rows"]) for kind in ("inputs", "model")]
            reference = cls(str(arrays["id"]), *bases, arrays["inputs"], arrays["model"])
            fit = all(basis.fits(sample) for basis, sample in zip(bases, (reference.inputs, reference.model), strict=True))
            return reference if fit else None
        except DAMAGED:
            return None

    def save(self, folder: Path) -> None:
        """Save atomically. Raises FileNotFoundError if the run's folder is gone."""
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
    """Returns the reference's info from a run's ``watch/``, or None if it is missing or has another version."""
    info = parse(ReferenceInfo, read_json(folder / ABOUT))
    return info if info is not None and info.version == VERSION else None


def draw(labels: Sequence[int], indices: Sequence[int], count: int, rng: np.random.Generator) -> list[int]:
    """Sample ``count`` of ``indices`` at random, stratified by class, in random order.

    The items of a folder are sorted by class, so its first images would miss most classes.
    """
    indices = rng.permutation(np.asarray(indices, dtype=np.int64))
    classes = np.asarray([labels[i] for i in indices])
    rank = np.empty(len(indices))  # rank of each image within its class, as a share of the class size
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        rank[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return rng.permutation(indices[np.argsort(rank, kind="stable")[:count]]).tolist()


def make(run: Run, data: DataSet, network: Any, features: ImageNetFeatures, progress: Callable[..., None]) -> ReferenceInfo:
    """Build and save the run's reference. ``network`` is the run's ``LoadedRun``.

    Raises JobFailed if the dataset is not the one that the run was trained on, or is too small.
    """
    record = run.record()
    recipe = record.parsed_recipe()
    if record.data.fingerprint != data.fingerprint:
        raise JobFailed("The data set has changed since this run: there is nothing to compare new pictures with.")
    rng = np.random.default_rng(recipe.seed)
    split = data.split(recipe.validation, recipe.seed)
    drawn = draw([item.label for item in data.items], split.train, MAX_PICTURES, rng)
    if len(drawn) < MIN_PICTURES:
        raise JobFailed(f"The training had {len(drawn)} pictures; measuring drift needs {MIN_PICTURES}.")
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for start in range(0, len(drawn), ROWS):
        progress("Computing features of training pictures", start / len(drawn))
        batch = [pictures.load(data.path(index)) for index in drawn[start : start + ROWS]]
        parts.append(features_of(batch, network, features))
    inputs, model = (np.concatenate(kind) for kind in zip(*parts, strict=True))
    bases = Basis.random(inputs.shape[1], INPUTS, rng), Basis.principal(model, COMPONENTS)
    reference = Reference(secrets.token_hex(8), *bases, bases[0](inputs), bases[1](model))
    folder = run.folder / FOLDER
    reference.save(folder)
    info = ReferenceInfo(id=reference.id, count=len(drawn), weights=network.stamp, version=VERSION)
    unfinished = folder / f".{secrets.token_hex(4)}.json"
    unfinished.write_text(json.dumps(to_json(info)))
    unfinished.replace(folder / ABOUT)
    return info


def features_of(some: Sequence[np.ndarray], network: Any, features: ImageNetFeatures) -> tuple[np.ndarray, np.ndarray]:
    """Compute both kinds of features of uint8 [h, w, 3] images, float32 [n, d] each."""
    small = np.stack([pictures.resize(picture, SIDE) for picture in some])
    full_size = np.stack([pictures.resize(picture, network.size) for picture in some])
    return features(small), network.classifier.embeddings(full_size)
