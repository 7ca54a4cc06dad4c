"""Losses of the decoder, the encoder and the denoiser."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from models.tiny_scenes.networks import Denoiser

OWN = 300  # up to this timestep, the denoiser's estimates have their outlines where the picture has them


def decoder_loss(out: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """Returns L1 on pixels and on differences of neighbors, plus some L2. Pictures: [n, 3, 128, 128] in [-1, 1]."""
    edges = sum(F.l1_loss(out.diff(dim=d), pictures.diff(dim=d)) for d in (2, 3))
    return F.l1_loss(out, pictures) + 0.5 * F.mse_loss(out, pictures) + 0.5 * edges


def decode(vae: nn.Module, latents: torch.Tensor) -> torch.Tensor:
    return vae.decoder(vae.post_quant_conv(latents))


def noisy(latents: torch.Tensor) -> torch.Tensor:
    """Adds noise with a standard deviation of up to 0.15, since denoised latents keep some noise."""
    amount = torch.rand(len(latents), 1, 1, 1, device=latents.device) * 0.15
    return latents + amount * torch.randn_like(latents)


@torch.no_grad()
def own(denoiser: Denoiser, clean: torch.Tensor, ids: torch.Tensor, alphas: torch.Tensor) -> torch.Tensor:
    """Returns the denoiser's estimates of ``clean`` from noisy latents, as the decoder gets them during generation."""
    t = torch.randint(OWN, (len(clean),), device=clean.device)
    a = alphas[t][:, None, None, None]
    mixed = a.sqrt() * clean + (1 - a).sqrt() * torch.randn_like(clean)
    return a.sqrt() * mixed - (1 - a).sqrt() * denoiser(mixed, t, ids).float()


def encoder_loss(vae: nn.Module, pictures: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """Trains the mean towards the latents, and the log variance towards -6."""
    mean, log_variance = vae.quant_conv(vae.encoder(pictures)).chunk(2, dim=1)
    return F.mse_loss(mean, latents) + 0.01 * (log_variance + 6).square().mean()


def denoiser_loss(
    model: nn.Module, clean: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor, alphas: torch.Tensor
) -> torch.Tensor:
    """Returns the v-prediction loss (Salimans & Ho 2022, eq. 10 ff.) with Min-SNR weighting (Hang et al. 2023).

    Pixels of the object count five times: it covers a tenth of the picture, but most of the caption.
    """
    # Stratified sampling, one timestep in each of n equal ranges, reduces the variance of the loss. The
    # exponent favors noisy timesteps, where the layout and the colors are determined.
    n = len(clean)
    u = (torch.arange(n, device=clean.device) + torch.rand(n, device=clean.device)) / n
    t = (u**0.65 * 1000).long()
    a = alphas[t][:, None, None, None]
    noise = torch.randn_like(clean)
    out = model(a.sqrt() * clean + (1 - a).sqrt() * noise, t, ids).float()
    target = a.sqrt() * noise - (1 - a).sqrt() * clean
    snr = a / (1 - a)
    weight = (snr.clamp(max=5) + 1) / (snr + 1) * (1 + 4 * mask)
    return (weight * (out - target).square()).mean()


class Critic(nn.Sequential):
    """Scores patches of a picture as rendered (high) or decoded (low). Spectral norms stabilize the training."""

    def __init__(self) -> None:
        widths = (3, 48, 96, 192)
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            layers += [spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        super().__init__(*layers, spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1)))

    def loss(self, real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
        """Returns the hinge loss (Lim & Ye 2017)."""
        return F.relu(1 - self(real)).mean() + F.relu(1 + self(made.detach())).mean()
