"""Builds the batches of an epoch: which images, in which order, with which augmentation. All follows from the seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from lib.train.recipe import Recipe


def order(count: int, seed: int, epoch: int) -> np.ndarray:
    """Returns a permutation of ``count`` that depends only on seed and epoch, so that any epoch can be repeated."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def cut(shuffled: np.ndarray, size: int) -> list[np.ndarray]:
    """Split into batches of ``size``. A last batch of one image joins the previous one: batch norm needs a variance."""
    starts = list(range(0, len(shuffled), size))
    if len(starts) > 1 and len(shuffled) % size == 1:
        starts.pop()
    return np.split(shuffled, starts[1:])


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """Returns uint8 [n, size, size, 3] as [n, 3, size, size] in channels_last memory format, which moves no values."""
    return torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2)  # copy, because the cache is a read-only memory map


def augment(picture: torch.Tensor, seed: int, epoch: int, index: int) -> torch.Tensor:
    """Flip, crop and change brightness and contrast of a uint8 [3, size, size] image.

    The random draws depend on the image instead of its batch, so the number of workers does not affect the result.
    """
    from torchvision.transforms.v2 import functional

    rng, size = np.random.default_rng([seed, epoch, index]), picture.shape[-1]
    side = round(size * rng.uniform(0.8, 1.0))
    top, left = rng.integers(0, size - side + 1), rng.integers(0, size - side + 1)
    picture = functional.resized_crop(picture, int(top), int(left), side, side, [size, size], antialias=True)
    if rng.random() < 0.5:
        picture = functional.horizontal_flip(picture)
    picture = functional.adjust_brightness(picture, float(rng.uniform(0.8, 1.2)))
    return functional.adjust_contrast(picture, float(rng.uniform(0.8, 1.2)))


class Batches(Dataset):
    """The batches of one epoch; item ``k`` is (images uint8 [b, 3, s, s], labels int64 [b])."""

    def __init__(
        self,
        pixels: np.ndarray,
        labels: np.ndarray,
        indices: np.ndarray,
        recipe: Recipe,
        epoch: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.pixels, self.labels, self.recipe, self.epoch = pixels, labels, recipe, epoch
        shuffled = indices[order(len(indices), recipe.seed, epoch)]
        whole = cut(shuffled, recipe.batch_size)
        self.sizes = [len(b) for b in whole]
        # each batch is split across processes; a rank left without an image computes the first one with weight 0
        self.parts = [b[rank::ranks] if len(b) > rank else b[:1] for b in whole]
        self.counted = [len(b) > rank for b in whole]

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, at: int) -> tuple[torch.Tensor, torch.Tensor]:
        part = np.sort(self.parts[at])  # sequential reads of the file; the loss sum is order-independent
        pictures = to_tensor(self.pixels[part])
        if self.recipe.augmentation:
            seed, epoch = self.recipe.seed, self.epoch
            pictures = torch.stack([augment(p, seed, epoch, int(i)) for p, i in zip(pictures, part, strict=True)])
        return pictures, torch.from_numpy(self.labels[part])

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        if not self.recipe.workers:
            yield from (self[k] for k in range(len(self)))
        else:
            yield from DataLoader(self, batch_size=None, num_workers=self.recipe.workers, prefetch_factor=4)
