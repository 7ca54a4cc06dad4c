"""Stable Diffusion 1.x and 2.x (epsilon and v prediction), and distilled ones such as SD-Turbo."""

from __future__ import annotations

from typing import Any

from lib.text_to_image.families import Conditioning, family, guidance_embedding
from lib.text_to_image.request import Request


@family("StableDiffusionPipeline")
def encode(pipeline: Any, request: Request) -> tuple[Conditioning, Conditioning | None]:
    timestep_cond = guidance_embedding(pipeline, request)
    guided = request.guided and timestep_cond is None
    prompt, negative = pipeline.encode_prompt(
        request.prompt, pipeline.unet.device, 1, guided, request.negative_prompt if guided else None
    )
    return (
        Conditioning(hidden=prompt[0], timestep_cond=timestep_cond),
        Conditioning(hidden=negative[0]) if guided else None,
    )
