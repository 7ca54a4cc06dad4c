"""What differs between families of models: how a prompt becomes the UNet's conditioning.

One module a family; ``@family("PipelineClass", …)`` puts its ``encode`` in the table. A pipeline
class without a row here still works, one request at a time (``solo.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from lib.text_to_image.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """One UNet row: ``hidden`` [tokens, width]; ``added`` and ``timestep_cond`` as the family needs."""

    hidden: torch.Tensor
    added: dict[str, torch.Tensor] = field(default_factory=dict)
    timestep_cond: torch.Tensor | None = None


# (pipeline, request) -> (for the prompt, for the negative prompt or None when unguided)
Encode = Callable[[Any, Request], tuple[Conditioning, Conditioning | None]]
ENCODERS: dict[str, Encode] = {}


def family(*pipeline_classes: str) -> Callable[[Encode], Encode]:
    def register(encode: Encode) -> Encode:
        for name in pipeline_classes:
            if name in ENCODERS:
                raise ValueError(f"two families claim {name}")
            ENCODERS[name] = encode
        return encode

    return register


def guidance_embedding(pipeline: Any, request: Request) -> torch.Tensor | None:
    """For a UNet distilled with guidance, which takes the scale as an embedding instead of a second
    row (Meng et al. 2023, "On distillation of guided diffusion models"): [time_cond_proj_dim]."""
    unet = pipeline.unet
    if unet.config.time_cond_proj_dim is None:
        return None
    scale = torch.tensor([request.guidance_scale - 1])
    embedding = pipeline.get_guidance_scale_embedding(scale, unet.config.time_cond_proj_dim)
    return embedding[0].to(unet.device, unet.dtype)


from lib.text_to_image.families import stable_diffusion, stable_diffusion_xl  # noqa: E402, F401
