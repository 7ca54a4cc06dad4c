"""Flux: latents are packed into patches of 2 x 2 with position ids, and guidance is an input of the network.

"dev" is guidance-distilled, "schnell" has no guidance. Neither supports a negative prompt, so a picture is always one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lib.text_to_image.families.base import Conditioning
from lib.text_to_image.families.flow import FlowFamily
from lib.text_to_image.request import Request

TOKENS = 512  # of T5, as in the pipeline


class Flux(FlowFamily):
    pipelines = ("FluxPipeline",)
    half = "bfloat16"  # as trained; activations of its text encoders and blocks overflow in fp16

    @property
    def channels(self) -> int:
        return self.network.config.in_channels // 4

    @property
    def text_encoder(self) -> tuple[Any, int]:
        return self.pipeline.text_encoder_2, TOKENS

    def guided(self, request: Request) -> bool:
        return False

    def notes(self, request: Request) -> list[str]:
        return ["This model takes no negative prompt, so yours was not used."] if request.negative_prompt.strip() else []

    def sigmas(self, request: Request) -> list[float]:
        return np.linspace(1.0, 1 / request.steps, request.steps).tolist()

    def encode(self, request: Request) -> tuple[Conditioning, None]:
        hidden, pooled, _ = self.pipeline.encode_prompt(request.prompt, device=self.device, max_sequence_length=TOKENS)
        added = {"pooled": pooled[0].to(self.dtype)}
        if self.network.config.guidance_embeds:
            added["guidance"] = torch.tensor(request.guidance_scale, device=self.device)
        return Conditioning(hidden=hidden[0].to(self.dtype), added=added), None

    def predict(self, noisy: torch.Tensor, times: torch.Tensor, conditions: Sequence[Conditioning]) -> torch.Tensor:
        height, width = noisy.shape[2:]
        hidden = torch.stack([c.hidden for c in conditions])
        guidance = [c.added["guidance"] for c in conditions if "guidance" in c.added]
        output = self.network(
            hidden_states=pack(noisy.to(self.dtype)),
            timestep=times.to(self.device) / 1000,
            guidance=torch.stack(guidance) if guidance else None,
            pooled_projections=torch.stack([c.added["pooled"] for c in conditions]),
            encoder_hidden_states=hidden,
            txt_ids=torch.zeros(hidden.shape[1], 3, device=self.device),
            img_ids=latent_image_ids(height // 2, width // 2, self.device),
            return_dict=False,
        )[0]
        return unpack(output, height, width)


def pack(latents: torch.Tensor) -> torch.Tensor:
    """Pack latents [n, C, h, w] into patches [n, h / 2 * w / 2, 4 C], in row-major order."""
    n, channels, height, width = latents.shape
    patches = latents.reshape(n, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(n, -1, 4 * channels)


def unpack(patches: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Invert ``pack``: patches to latents [n, C, height, width]."""
    n, _, channels = patches.shape
    latents = patches.reshape(n, height // 2, width // 2, channels // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return latents.reshape(n, channels // 4, height, width)


def latent_image_ids(rows: int, columns: int, device: torch.device) -> torch.Tensor:
    """Return position ids [rows * columns, 3] for the rotary embedding: 0, row and column of each patch."""
    y, x = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
    return torch.stack([torch.zeros_like(y), y, x], dim=-1).reshape(-1, 3).float()
