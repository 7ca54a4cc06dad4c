"""Stable Diffusion 1.x and 2.x (epsilon and v prediction), and distilled models such as SD-Turbo."""

from __future__ import annotations

import torch

from lib.text_to_image.families.base import Conditioning
from lib.text_to_image.families.unet import UNetFamily
from lib.text_to_image.prompts.embed import embed
from lib.text_to_image.request import Request


class StableDiffusion(UNetFamily):
    pipelines = ("StableDiffusionPipeline",)
    vae_upcast = False  # these VAEs do not overflow; their configs lack ``force_upcast``, which diffusers defaults to True

    def encode(self, request: Request) -> tuple[Conditioning, Conditioning | None]:
        prompt = Conditioning(hidden=self._text(request.prompt), timestep_cond=self.guidance_embedding(request))
        return prompt, Conditioning(hidden=self._text(request.negative_prompt)) if self.guided(request) else None

    def _text(self, text: str) -> torch.Tensor:
        embedded = embed(self.pipeline.tokenizer, self.pipeline.text_encoder, text)
        return embedded.hidden.to(self.device, self.dtype)
