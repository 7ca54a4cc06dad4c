"""Stable Diffusion 1.x and 2.x (epsilon and v prediction), and distilled ones such as SD-Turbo."""

from __future__ import annotations

from typing import Any

import torch

from lib.text_to_image.families import Conditioning, family
from lib.text_to_image.request import Request


@family("StableDiffusionPipeline")
def encode(pipeline: Any, request: Request) -> tuple[Conditioning, Conditioning | None]:
    unet, device = pipeline.unet, pipeline.unet.device
    # A UNet distilled with guidance takes the scale as an embedding instead of a second row
    # (Meng et al. 2023, "On distillation of guided diffusion models").
    embeds_scale = unet.config.time_cond_proj_dim is not None
    guided = request.guided and not embeds_scale
    prompt, negative = pipeline.encode_prompt(request.prompt, device, 1, guided, request.negative_prompt if guided else None)
    timestep_cond = None
    if embeds_scale:
        scale = torch.tensor([request.guidance_scale - 1])
        timestep_cond = pipeline.get_guidance_scale_embedding(scale, unet.config.time_cond_proj_dim)[0].to(
            device, unet.dtype
        )
    return (
        Conditioning(hidden=prompt[0], timestep_cond=timestep_cond),
        Conditioning(hidden=negative[0]) if guided else None,
    )
