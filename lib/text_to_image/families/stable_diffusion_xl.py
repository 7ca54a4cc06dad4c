"""Stable Diffusion XL: two text encoders, and pooled embeddings and sizes for every row."""

from __future__ import annotations

import torch

from lib.text_to_image.families.base import Conditioning
from lib.text_to_image.families.unet import UNetFamily
from lib.text_to_image.request import Request


class StableDiffusionXL(UNetFamily):
    pipelines = ("StableDiffusionXLPipeline",)

    def encode(self, request: Request) -> tuple[Conditioning, Conditioning | None]:
        guided, timestep_cond = self.guided(request), self.guidance_embedding(request)
        # None, not "": SDXL was trained with zeros for no prompt (force_zeros_for_empty_prompt)
        prompt, negative, pooled, negative_pooled = self.pipeline.encode_prompt(
            prompt=request.prompt,
            device=self.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=guided,
            negative_prompt=request.negative_prompt or None,
        )
        size = (request.height, request.width)
        # original size, crop corner, target size (SDXL report, section 2.2)
        time_ids = torch.tensor([*size, 0, 0, *size], dtype=prompt.dtype, device=self.device)

        def row(hidden: torch.Tensor, text: torch.Tensor) -> Conditioning:
            added = {"text_embeds": text[0], "time_ids": time_ids}
            return Conditioning(hidden=hidden[0], added=added, timestep_cond=timestep_cond)

        return row(prompt, pooled), row(negative, negative_pooled) if guided else None
