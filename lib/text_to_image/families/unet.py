"""Base of the families with a UNet: the noise process of Ho et al. 2020 and diffusers' schedulers for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from lib.text_to_image import preview, schedulers
from lib.text_to_image.families.base import Conditioning, Family
from lib.text_to_image.request import Request


class UNetFamily(Family):
    """Family of UNets trained with a discrete noise schedule."""

    @staticmethod
    def supports(pipeline: Any) -> bool:
        return hasattr(pipeline.scheduler, "alphas_cumprod")  # EDM and flow matching have none

    @property
    def network(self) -> Any:
        return self.pipeline.unet

    @property
    def channels(self) -> int:
        return self.network.config.in_channels

    def guided(self, request: Request) -> bool:
        return request.guided and self.network.config.time_cond_proj_dim is None

    def guidance_embedding(self, request: Request) -> torch.Tensor | None:
        """Return the guidance scale as an embedding [time_cond_proj_dim] for a guidance-distilled UNet, which needs no
        second row (Meng et al. 2023, "On distillation of guided diffusion models"). None for other UNets."""
        width = self.network.config.time_cond_proj_dim
        if width is None:
            return None
        scale = torch.tensor([request.guidance_scale - 1])
        embedding = self.pipeline.get_guidance_scale_embedding(scale, width)
        return embedding[0].to(self.device, self.dtype)

    def make_schedule(self, request: Request) -> tuple[Any, list[Any]]:
        scheduler = schedulers.make_scheduler(request.scheduler, self.pipeline.scheduler)
        return scheduler, schedulers.set_timesteps(scheduler, request.steps)

    def initial_latents(self, scheduler: Any, noise: torch.Tensor) -> torch.Tensor:
        return noise * scheduler.init_noise_sigma

    def add_noise(self, scheduler: Any, latents: torch.Tensor, noise: torch.Tensor, timestep: Any) -> torch.Tensor:
        return scheduler.add_noise(latents, noise, torch.tensor([timestep]))

    def scale_model_input(self, scheduler: Any, latents: torch.Tensor, timestep: Any) -> torch.Tensor:
        return scheduler.scale_model_input(latents, timestep)

    def predict(self, noisy: torch.Tensor, times: torch.Tensor, conditions: Sequence[Conditioning]) -> torch.Tensor:
        added = {name: torch.stack([c.added[name] for c in conditions]) for name in conditions[0].added}
        scales = [c.timestep_cond for c in conditions if c.timestep_cond is not None]
        hidden, mask = pad_prompts([c.hidden for c in conditions])
        return self.network(
            noisy.to(self.dtype),
            times.to(self.device),
            encoder_hidden_states=hidden,
            encoder_attention_mask=mask,
            timestep_cond=torch.stack(scales) if scales else None,
            added_cond_kwargs=added or None,
            return_dict=False,
        )[0]

    def clean_estimate(self, noisy: torch.Tensor, output: torch.Tensor, times: Sequence[float]) -> torch.Tensor:
        trained = self.pipeline.scheduler
        alpha = trained.alphas_cumprod[[round(t) for t in times]].to(noisy.device)[:, None, None, None]
        return preview.clean_estimate(noisy, output, alpha, trained.config.prediction_type)


def pad_prompts(hidden: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Pad prompts of different lengths to [n, tokens, width]. Returns them and a mask [n, tokens], None without padding.

    A1111's web UI pads with empty chunks, which change the picture. Here a picture must not depend on the rest of the batch.
    """
    lengths = torch.tensor([len(prompt) for prompt in hidden])
    if (lengths == lengths[0]).all():
        return torch.stack(list(hidden)), None
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    return pad_sequence(list(hidden), batch_first=True), mask.to(hidden[0].device)
