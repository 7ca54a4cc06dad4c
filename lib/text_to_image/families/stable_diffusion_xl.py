"""Stable Diffusion XL: two text encoders, and pooled embeddings and sizes for every row."""

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
        return row(*prompt), row(*map(torch.zeros_like, prompt))  # as it was trained for no prompt

    def _text(self, text: str) -> tuple[torch.Tensor, torch.Tensor]:
        """[tokens, width of both encoders] and, of the second one, [width]."""
        p = self.pipeline
        pairs = ((p.tokenizer, p.text_encoder), (p.tokenizer_2, p.text_encoder_2))
        found = [embed(tokenizer, encoder, text, penultimate=True) for tokenizer, encoder in pairs if encoder is not None]
        hidden, pooled = torch.cat([one.hidden for one in found], dim=-1), found[-1].pooled
        assert pooled is not None
        return hidden.to(self.device, self.dtype), pooled.to(self.device, self.dtype)
