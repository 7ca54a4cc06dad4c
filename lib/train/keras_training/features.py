"""Computes features of a frozen backbone once per dataset, backbone and image size, and caches them with the dataset."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lib.train.events import Stage
from lib.train.keras_training.classifier import KerasClassifier
from lib.train.training import Training

ROWS = 64  # images between two progress messages


def features(classifier: KerasClassifier, weights: str, training: Training) -> Iterator[Stage | np.ndarray]:
    """Yield stages and finally the features, float32 [n, d]. ``weights`` identifies the backbone's weights.

    Always float32 in inference mode, even with mixed precision, so that recipes share the cache. Not shared with PyTorch
    runs, whose features differ by rounding.
    """
    recipe = training.recipe
    suffix = f"{recipe.backbone}-{weights[:16]}-{recipe.image_size}-{recipe.threads}"
    name = f"keras-features-{training.fingerprint[:16]}-{suffix}.npy"
    path = training.cache / "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    if path.is_file():
        yield Stage(words="Using cached features", share=1.0)
        yield np.load(path, mmap_mode="r")
        return
    parts, n = [], len(training.pixels)
    for i in range(0, n, ROWS):
        parts.append(classifier.embeddings(training.pixels[i : i + ROWS]))
        yield Stage(words=f"Computing features, {min(n, i + ROWS):,} of {n:,} pictures", share=min(n, i + ROWS) / n)
    output = np.concatenate(parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.save(file, output)
    unfinished.replace(path)
    yield output
