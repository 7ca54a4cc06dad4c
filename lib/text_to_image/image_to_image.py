"""A row that begins with a picture: its latents, noised to where the strength lets it join, and what a mask keeps.

As diffusers' img2img and inpaint pipelines for networks that see nothing but latents; random numbers are drawn in their
order, so the same seed makes the same picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor

from lib.text_to_image import vae
from lib.text_to_image.models import Model
from lib.text_to_image.request import Request
from lib.text_to_image.start_picture import StartPicture


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The start picture's ``latents`` [1, C, h, w] and the ``noise`` on them; ``mask`` [1, 1, h, w] is 1 where a picture
    is painted anew."""

    latents: torch.Tensor
    noise: torch.Tensor
    mask: torch.Tensor

    def around(self, latents: torch.Tensor, scheduler: Any, family: Any, timestep: Any) -> torch.Tensor:
        """``latents`` inside of the mask; outside the start picture as noisy as ``timestep`` wants it, or clean for None."""
        own = self.latents if timestep is None else family.noised(scheduler, self.latents, self.noise, timestep)
        return (1 - self.mask) * own + self.mask * latents


def begin(
    model: Model, request: Request, scheduler: Any, timestep: Any, generator: torch.Generator
) -> tuple[torch.Tensor, Kept | None]:
    """The latents before the first step, at ``timestep``, and what the mask keeps of them. All on the model's device."""
    start, family = request.start, model.family
    assert start is not None and family is not None
    shape = family.shape(request)
    with model.threads.use(model.pipeline.vae, shape[2] * shape[3]):
        pixels = model.pipeline.image_processor.preprocess(start.image).to(model.device)
        clean = vae.encode(model.pipeline.vae, pixels, generator)
    noise = randn_tensor(shape, generator=generator, dtype=torch.float32).to(model.device)
    if start.mask is None:
        return family.noised(scheduler, clean, noise, timestep), None
    whole = start.strength == 1  # nothing of the start picture is to shine through
    latents = family.start(scheduler, noise) if whole else family.noised(scheduler, clean, noise, timestep)
    randn_tensor(shape, generator=generator)  # the pipelines encode the masked picture, too, which only others use
    return latents, Kept(latents=clean, noise=noise, mask=latent_mask(start, *shape[2:]).to(model.device))


def latent_mask(start: StartPicture, height: int, width: int) -> torch.Tensor:
    """[1, 1, height, width], 1 where any pixel of the latent pixel's square is at least half white."""
    image = start.mask_image
    assert image is not None
    grey = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(1, 1, image.height, image.width)
    return torch.nn.functional.adaptive_max_pool2d((grey >= 128).float(), (height, width))
