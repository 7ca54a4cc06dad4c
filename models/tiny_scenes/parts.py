"""The three trainable parts of the model: the data each reads, the weights it trains, and its loss on a batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from models.tiny_scenes import losses, networks, store
from models.tiny_scenes.networks import Denoiser

CRITIC_WEIGHT = 0.03


class DenoiserPart:
    """The text encoder and the UNet."""

    def __init__(self, model: Denoiser, data: Path, device: torch.device) -> None:
        self.model, self.trained = model, list(model.parameters())
        self.latents, self.masks, self.captions = store.read(data, device, "latents", "masks", "captions")
        self.alphas = networks.build_scheduler().alphas_cumprod.to(device)

    def loss(self, forward: nn.Module, batch: int, step: int) -> torch.Tensor:
        rows = torch.randint(len(self.latents), (batch,), device=self.latents.device)
        ids = self.captions[rows, torch.randint(store.CAPTIONS, (batch,), device=rows.device)].long()
        return losses.denoiser_loss(forward, self.latents[rows].float(), self.masks[rows], ids, self.alphas)


class DecoderPart:
    """The decoder. From step ``critic_from`` on, it is also trained against a critic.

    With a ``denoiser``, half of each batch are the denoiser's estimates instead of true latents.
    """

    def __init__(
        self, model: nn.Module, data: Path, device: torch.device, denoiser: Path | None, critic_from: int | None
    ) -> None:
        self.model = model
        self.trained = [p for module in (model.decoder, model.post_quant_conv) for p in module.parameters()]
        self.pictures, self.latents, self.captions = store.read(data, device, "pictures", "latents", "captions")
        self.alphas = networks.build_scheduler().alphas_cumprod.to(device)
        self.denoiser: Denoiser | None = None
        if denoiser is not None:
            self.denoiser = Denoiser().to(device).eval()
            self.denoiser.load_state_dict(load_file(denoiser))
        self.critic_from = critic_from
        self.critic = losses.Critic().to(device)
        self._critics = torch.optim.Adam(self.critic.parameters(), lr=2e-4, betas=(0.5, 0.9))

    def loss(self, forward: nn.Module, batch: int, step: int) -> torch.Tensor:
        rows = torch.randint(len(self.latents), (batch,), device=self.latents.device)
        pictures, latents = self.pictures[rows].float() / 127.5 - 1, self.latents[rows].float()
        half = batch // 2 if self.denoiser is not None else 0
        if self.denoiser is not None:
            ids = self.captions[rows, 0].long()
            estimates = losses.own(self.denoiser, latents[:half], ids[:half], self.alphas)
            latents = torch.cat([estimates, latents[half:]])
        out = losses.decode(forward, torch.cat([latents[:half], losses.noisy(latents[half:])])).float()
        loss = losses.decoder_loss(out, pictures)
        if self.critic_from is None or step < self.critic_from:
            return loss
        self._critics.zero_grad(set_to_none=True)
        self.critic.loss(pictures, out).backward()
        self._critics.step()
        return loss - CRITIC_WEIGHT * self.critic(out).mean()


class EncoderPart:
    """The encoder, which is used for start pictures."""

    def __init__(self, model: nn.Module, data: Path, device: torch.device) -> None:
        self.model = model
        self.trained = [p for module in (model.encoder, model.quant_conv) for p in module.parameters()]
        self.pictures, self.latents = store.read(data, device, "pictures", "latents")

    def loss(self, forward: nn.Module, batch: int, step: int) -> torch.Tensor:
        rows = torch.randint(len(self.latents), (batch,), device=self.latents.device)
        return losses.encoder_loss(forward, self.pictures[rows].float() / 127.5 - 1, self.latents[rows].float())


def pretrain_text(model: Denoiser, data: Path, device: torch.device, steps: int, log: Callable[[int, float], None]) -> None:
    """Pretrains the text encoder on the content of captions (as CLIP's was), before it is trained with the denoiser.

    Three linear heads, discarded afterwards, predict object, color and place from each position from the end token on,
    where the causal encoder has seen the whole caption.
    """
    encoder = model.text_encoder.to(device)
    captions, labels = store.read(data, device, "captions", "labels")
    heads = nn.ModuleList(nn.Linear(networks.WIDTH, len(words)) for words in store.TABLES.values()).to(device)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *heads.parameters()], lr=1e-3, weight_decay=0.01)
    for step in range(steps):
        rows = torch.randint(len(captions), (64,), device=device)
        ids = captions[rows, torch.randint(store.CAPTIONS, (64,), device=device)].long()
        # positions from the end token on, which is also the padding; empty captions have no label
        hidden, after = encoder(ids)[0], (ids == 1).float() * (ids[:, 1:2] != 1)
        loss = torch.zeros((), device=device)
        for k, head in enumerate(heads):
            targets = labels[rows, k].long()[:, None].expand(-1, ids.shape[1])
            token_loss = F.cross_entropy(head(hidden).transpose(1, 2), targets, reduction="none")
            loss = loss + (token_loss * after).sum() / after.sum().clamp(min=1)
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 50) * (1 - step / steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            log(step, loss.item())
