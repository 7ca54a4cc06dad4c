"""Stable Diffusion XL: two text encoders, pooled embeddings, and size conditioning per row."""

from __future__ import annotations

import torch

from lib.text_to_image.families.base import Conditioning
from lib.text_to_image.families.unet import UNetFamily
from lib.text_to_image.prompts.embed import embed
from lib.text_to_image.request import Request


class StableDiffusionXL(UNetFamily):
    pipelines = ("StableDiffusionXLPipeline",)

    def encode(self, request: Request) -> tuple[Conditioning, Conditioning | None]:
        timestep_cond, size = self.guidance_embedding(request), (request.height, request.width)
        # original size, crop corner, target size (SDXL report, section 2.2)
        time_ids = torch.tensor([*size, 0, 0, *size], dtype=self.dtype, device=self.device)

        def row(hidden: torch.Tensor, pooled: torch.Tensor) -> Conditioning:
            added = {"text_embeds": pooled, "time_ids": time_ids}
            return Conditioning(hidden=hidden, added=added, timestep_cond=timestep_cond)

        prompt = self._text(request.prompt)
        if not self.guided(request):
            return row(*prompt), None
        if request.negative_prompt or not self.pipeline.config.force_zeros_for_empty_prompt:
            return row(*prompt), row(*self._text(request.negative_prompt))
        return row(*prompt), row(*map(torch.zeros_like, prompt))  # zeros, as in training without a prompt

    def _text(self, text: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return hidden states [tokens, width of both encoders] and the pooled embedding of the second encoder [width]."""
        p = self.pipeline
        pairs = ((p.tokenizer, p.text_encoder), (p.tokenizer_2, p.text_encoder_2))
        embedded = [embed(tokenizer, encoder, text, penultimate=True) for tokenizer, encoder in pairs if encoder is not None]
        hidden, pooled = torch.cat([encoded.hidden for encoded in embedded], dim=-1), embedded[-1].pooled
        assert pooled is not None
        return hidden.to(self.device, self.dtype), pooled.to(self.device, self.dtype)
