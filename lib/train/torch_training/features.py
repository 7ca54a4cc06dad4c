"""Computes features of a frozen backbone once per dataset, backbone and image size, and caches them with the dataset."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from lib.train.events import Stage
from lib.train.torch_training.batches import to_tensor
from lib.train.torch_training.network import Network
from lib.train.training import Training

ROWS = 64


def features(network: Network, weights: str, training: Training, device: torch.device) -> Iterator[Stage | np.ndarray]:
    """Yield stages and finally the features, float32 [n, d]. ``weights`` is the SHA-256 of the backbone's weights.

    Always float32 in eval mode, even with mixed precision, so that recipes share the cache.
    """
    recipe = training.recipe
    name = f"features-{training.fingerprint[:16]}-{recipe.backbone}-{weights[:12]}-{recipe.image_size}-{recipe.threads}.npy"
    path = training.cache / "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    if path.is_file():
        yield Stage(words="Using cached features", share=1.0)
        yield np.load(path, mmap_mode="r")
        return
    network.eval()
    parts, n = [], len(training.pixels)
    for i in range(0, n, ROWS):
        with torch.inference_mode():
            parts.append(network.embed(to_tensor(training.pixels[i : i + ROWS]).to(device)).float().cpu().numpy())
        yield Stage(words=f"Computing features, {min(n, i + ROWS):,} of {n:,} pictures", share=min(n, i + ROWS) / n)
    output = np.concatenate(parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.save(file, output)
    unfinished.replace(path)
    yield output
