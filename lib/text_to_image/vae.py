"""Between latents as the network knows them and pictures: the VAE, with the statistics of its latents."""

from __future__ import annotations

from typing import Any

import torch


def decode(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """[n, C, h, w] as the network knows them to pictures [n, 3, H, W] in -1..1, in the VAE's dtype."""
    given = latents.to(vae.dtype)
    scale, shift = _statistics(vae.config, given)
    pixels = vae.decode(given / scale + shift, return_dict=False)[0]
    if pixels.dtype == torch.float16 and not torch.isfinite(pixels).all():
        vae.to(torch.float32)  # some that were fine-tuned leave fp16's range: from now on as their authors trained them
        return decode(vae, latents)
    return pixels


def encode(vae: Any, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Pictures [n, 3, H, W] in -1..1 to latents [n, C, h, w] float32 as the network knows them, drawn with ``generator``
    where the VAE gives a distribution."""
    found = vae.encode(pixels.to(vae.dtype))
    latents = found.latent_dist.sample(generator) if hasattr(found, "latent_dist") else found.latents
    scale, shift = _statistics(vae.config, latents)
    # Pictures come with their channels last, and so would these: a call of such rows alone would have other kernels.
    return ((latents - shift) * scale).float().contiguous()


def _statistics(config: Any, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The network knows ``scale * (latents - shift)``."""
    scale = torch.full((), config.scaling_factor, device=latents.device, dtype=latents.dtype)
    shift = torch.full((), getattr(config, "shift_factor", None) or 0.0, device=latents.device, dtype=latents.dtype)
    if getattr(config, "latents_mean", None) and getattr(config, "latents_std", None):
        mean, std = (
            torch.tensor(v, device=latents.device, dtype=latents.dtype)[None, :, None, None]
            for v in (config.latents_mean, config.latents_std)
        )
        scale, shift = scale / std, mean
    return scale, shift
