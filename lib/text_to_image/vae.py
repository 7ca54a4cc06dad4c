"""Encode and decode pictures with the VAE, scaling and shifting its latents for the network."""

from __future__ import annotations

from typing import Any

import torch


def decode(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Decode the network's latents [n, C, h, w] to pictures [n, 3, H, W] in -1..1, in the VAE's dtype."""
    vae_latents = latents.to(vae.dtype)
    scale, shift = _statistics(vae.config, vae_latents)
    pixels = vae.decode(vae_latents / scale + shift, return_dict=False)[0]
    if pixels.dtype == torch.float16 and not torch.isfinite(pixels).all():
        vae.to(torch.float32)  # some fine-tuned VAEs overflow in fp16, so they run in float32 from now on
        return decode(vae, latents)
    return pixels


def encode(vae: Any, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Encode pictures [n, 3, H, W] in -1..1 to the network's latents [n, C, h, w] float32, sampled with ``generator`` if
    the VAE returns a distribution."""
    encoded = vae.encode(pixels.to(vae.dtype))
    latents = encoded.latent_dist.sample(generator) if hasattr(encoded, "latent_dist") else encoded.latents
    scale, shift = _statistics(vae.config, latents)
    # contiguous: channels-last pictures would give channels-last latents, which select other kernels
    return ((latents - shift) * scale).float().contiguous()


def _statistics(config: Any, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scale and shift: the network uses ``scale * (latents - shift)``."""
    scale = torch.full((), config.scaling_factor, device=latents.device, dtype=latents.dtype)
    shift = torch.full((), getattr(config, "shift_factor", None) or 0.0, device=latents.device, dtype=latents.dtype)
    if getattr(config, "latents_mean", None) and getattr(config, "latents_std", None):
        mean, std = (
            torch.tensor(v, device=latents.device, dtype=latents.dtype)[None, :, None, None]
            for v in (config.latents_mean, config.latents_std)
        )
        scale, shift = scale / std, mean
    return scale, shift
