"""Stable Diffusion 1.x and 2.x (epsilon and v prediction), and distilled ones such as SD-Turbo."""

from __future__ import annotations

from lib.text_to_image.families.base import Conditioning
from lib.text_to_image.families.unet import UNetFamily
from lib.text_to_image.request import Request


class StableDiffusion(UNetFamily):
    pipelines = ("StableDiffusionPipeline",)

    def encode(self, request: Request) -> tuple[Conditioning, Conditioning | None]:
        guided = self.guided(request)
        prompt, negative = self.pipeline.encode_prompt(
            request.prompt, self.device, 1, guided, request.negative_prompt if guided else None
        )
        return (
            Conditioning(hidden=prompt[0], timestep_cond=self.guidance_embedding(request)),
            Conditioning(hidden=negative[0]) if guided else None,
        )
