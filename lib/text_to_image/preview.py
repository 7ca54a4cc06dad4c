"""Draw small pictures of the estimated result of a row, without the VAE.

Uses a linear map from latent channels to RGB, fitted by least squares on patches decoded by the model's VAE, so it works
for every VAE (the idea, with fixed factors for SD 1.x: Keturn, 2022).
"""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image


@torch.inference_mode()
def fit(decode: Any, channels: int, device: Any) -> torch.Tensor:
    """Fit the map. ``decode``: maps [n, channels, 16, 16] to [n, 3, h, w] in -1..1. Returns [channels + 1, 3] float32."""
    generator = torch.Generator().manual_seed(0)
    flat = torch.randn(max(4, channels), channels, 4, 4, generator=generator)
    latents = torch.nn.functional.interpolate(flat, scale_factor=4)
    pictures = torch.cat([decode(z[None].to(device)).float().cpu() for z in latents])
    colours = torch.nn.functional.adaptive_avg_pool2d(pictures, 4)
    a = flat.permute(0, 2, 3, 1).reshape(-1, channels)
    a = torch.cat([a, torch.ones(len(a), 1)], dim=1)
    b = colours.permute(0, 2, 3, 1).reshape(-1, 3)
    return torch.linalg.lstsq(a, b).solution


def clean_estimate(noisy: torch.Tensor, output: torch.Tensor, alpha: torch.Tensor, prediction: str) -> torch.Tensor:
    """Compute x0 from the UNet's (scaled) input and its output. ``alpha``: alphas_cumprod [n, 1, 1, 1].

    Ho et al. 2020 eq. 15 for epsilon; Salimans & Ho 2022 appendix D for v. All [n, C, h, w].
    """
    if prediction == "sample":
        return output
    if prediction == "v_prediction":
        return alpha.sqrt() * noisy - (1 - alpha).sqrt() * output
    return (noisy - (1 - alpha).sqrt() * output) / alpha.sqrt()


def to_images(latents: torch.Tensor, weights: torch.Tensor) -> list[Image.Image]:
    """Convert latents [n, C, h, w] to n RGB pictures of w x h pixels, with one transfer from the device."""
    weights = weights.to(latents.device)
    rgb = torch.einsum("nchw,cd->nhwd", latents.float(), weights[:-1]) + weights[-1]
    pixels = ((rgb.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
    return [Image.fromarray(p) for p in pixels]
