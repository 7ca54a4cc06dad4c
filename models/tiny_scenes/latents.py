"""The latent space, defined before any training: the 8 principal components of 8 x 8 pixel blocks.

A variational autoencoder learns its latents during training, which takes hours on two CPU cores (docs/tiny_scenes.md).
Here a linear map defines them first, so the decoder, the encoder and the denoiser can train at the same time, each
with the same fixed target. Components are divided by the square root of their standard deviation, and then all by the
same factor so that the mean square is 1, hence ``scaling_factor`` is 1.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from models.tiny_scenes.networks import LATENT_CHANNELS, LATENT_SIDE
from models.tiny_scenes.renderer import render
from models.tiny_scenes.scenes import Scene, all_scenes

BLOCK = 8
SHIPPED = Path(__file__).parent / "latent_space.safetensors"


def pixels(scenes: list[Scene], seeds: list[int]) -> torch.Tensor:
    """Renders scenes as [n, 3, 128, 128] float32 in [-1, 1]."""
    return to_tensor([render(s, random.Random(k)) for s, k in zip(scenes, seeds, strict=True)])


def to_tensor(pictures: list[Image.Image]) -> torch.Tensor:
    """Converts RGB pictures to [n, 3, height, width] float32 in [-1, 1]."""
    rows = np.stack([np.asarray(p) for p in pictures])
    return torch.from_numpy(rows).permute(0, 3, 1, 2).float().div_(127.5).sub_(1).contiguous()


@dataclass(frozen=True, slots=True)
class LatentSpace:
    """``mean`` [192] and ``weight`` [8, 192]: latents = weight @ (block - mean)."""

    mean: torch.Tensor
    weight: torch.Tensor

    @classmethod
    def fit(cls, seed: int = 0, pictures: int = 1500) -> LatentSpace:
        """Fits the components to random renders."""
        rng = random.Random(seed)
        scenes = rng.choices(all_scenes(), k=pictures)
        blocks = _blocks(pixels(scenes, list(range(pictures)))).reshape(-1, 3 * BLOCK * BLOCK).double()
        mean = blocks.mean(0)
        centred = blocks - mean
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
        std, axes = values.flip(0)[:LATENT_CHANNELS].sqrt(), vectors.flip(1)[:, :LATENT_CHANNELS].T
        axes = axes * torch.sign(axes.sum(1, keepdim=True))
        scale = std.rsqrt() / std.mean().sqrt()
        return cls(mean.float(), (axes * scale[:, None]).float().contiguous())

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """Maps [n, 3, 128, 128] in [-1, 1] to [n, 8, 16, 16]."""
        z = (_blocks(pictures) - self.mean) @ self.weight.T
        return z.permute(0, 2, 1).reshape(-1, LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE).contiguous()

    def save(self, path: Path) -> None:
        save_file({"mean": self.mean, "weight": self.weight}, path)

    @classmethod
    def load(cls, path: Path = SHIPPED) -> LatentSpace:
        """Loads the latent space of the shipped weights, as computed by ``fit``."""
        return cls(**load_file(path))


def _blocks(pictures: torch.Tensor) -> torch.Tensor:
    return F.unfold(pictures, BLOCK, stride=BLOCK).permute(0, 2, 1)
