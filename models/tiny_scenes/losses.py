"""What each part of the model is trained for: decoder, encoder and denoiser."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from models.tiny_scenes.networks import Denoiser

OWN = 300  # the denoiser's estimates from up to this timestep have the picture's outlines at the picture's places


def decoder_loss(out: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """L1 on pixels and on the differences between neighbours, and a little L2. Pictures [n, 3, 128, 128] in -1..1."""
    edges = sum(F.l1_loss(out.diff(dim=d), pictures.diff(dim=d)) for d in (2, 3))
    return F.l1_loss(out, pictures) + 0.5 * F.mse_loss(out, pictures) + 0.5 * edges


def decode(vae: nn.Module, latents: torch.Tensor) -> torch.Tensor:
    return vae.decoder(vae.post_quant_conv(latents))


def noisy(latents: torch.Tensor) -> torch.Tensor:
    """With up to 0.15 of noise, of which the denoiser leaves some."""
    amount = torch.rand(len(latents), 1, 1, 1, device=latents.device) * 0.15
    return latents + amount * torch.randn_like(latents)


@torch.no_grad()
def own(denoiser: Denoiser, clean: torch.Tensor, ids: torch.Tensor, alphas: torch.Tensor) -> torch.Tensor:
    """The denoiser's own estimates of ``clean`` from some noise: what the decoder meets when pictures are made."""
    t = torch.randint(OWN, (len(clean),), device=clean.device)
    a = alphas[t][:, None, None, None]
    mixed = a.sqrt() * clean + (1 - a).sqrt() * torch.randn_like(clean)
    return a.sqrt() * mixed - (1 - a).sqrt() * denoiser(mixed, t, ids).float()


def encoder_loss(vae: nn.Module, pictures: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """The mean is to be the latents; the log variance a constant, e^-6."""
    mean, log_variance = vae.quant_conv(vae.encoder(pictures)).chunk(2, dim=1)
    return F.mse_loss(mean, latents) + 0.01 * (log_variance + 6).square().mean()


def denoiser_loss(
    model: nn.Module, clean: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor, alphas: torch.Tensor
) -> torch.Tensor:
    """Velocity (Salimans & Ho 2022, eq. 10 ff.), capped at high signal-to-noise ratios as by Hang et
    al. 2023. The object counts five times: it is a tenth of the picture and most of the caption."""
    # One draw in each of n equal ranges: the loss is less noisy than with independent ones. The
    # power favours the noisy end, where it is decided what goes where and in which colour.
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
    """Says of each patch of a picture whether it is drawn (high) or decoded (low); spectral norms keep it tame."""

    def __init__(self) -> None:
        widths = (3, 48, 96, 192)
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            layers += [spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        super().__init__(*layers, spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1)))

    def loss(self, real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
        """Hinge (Lim & Ye 2017)."""
        return F.relu(1 - self(real)).mean() + F.relu(1 + self(made.detach())).mean()
