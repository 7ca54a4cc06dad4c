"""Encodes and decodes pictures with the VAE, scaling and shifting its latents for the network."""

from __future__ import annotations

from typing import Any

import torch


def decode(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Latents [n, C, h, w] as the network uses them to pictures [n, 3, H, W] in -1..1, in the VAE's dtype."""
    given = latents.to(vae.dtype)
    scale, shift = _statistics(vae.config, given)
    pixels = vae.decode(given / scale + shift, return_dict=False)[0]
    if pixels.dtype == torch.float16 and not torch.isfinite(pixels).all():
        vae.to(torch.float32)  # some fine-tuned VAEs overflow in fp16, so they run in float32 from now on
        return decode(vae, latents)
    return pixels


def encode(vae: Any, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Pictures [n, 3, H, W] in -1..1 to latents [n, C, h, w] float32 as the network uses them, sampled with ``generator``
    where the VAE gives a distribution."""
    found = vae.encode(pixels.to(vae.dtype))
    latents = found.latent_dist.sample(generator) if hasattr(found, "latent_dist") else found.latents
    scale, shift = _statistics(vae.config, latents)
    # Pictures are channels last, and so would these be, which would select other kernels.
    return ((latents - shift) * scale).float().contiguous()


def _statistics(config: Any, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and shift: the network uses ``scale * (latents - shift)``."""
    scale = torch.full((), config.scaling_factor, device=latents.device, dtype=latents.dtype)
    shift = torch.full((), getattr(config, "shift_factor", None) or 0.0, device=latents.device, dtype=latents.dtype)
    if getattr(config, "latents_mean", None) and getattr(config, "latents_std", None):
        mean, std = (
            torch.tensor(v, device=latents.device, dtype=latents.dtype)[None, :, None, None]
            for v in (config.latents_mean, config.latents_std)
        )
        scale, shift = scale / std, mean
    return scale, shift
