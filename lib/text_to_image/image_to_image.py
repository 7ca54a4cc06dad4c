"""Image to image and inpainting: the initial latents of a row, and the blending with a mask after every step.

Follows diffusers' img2img and inpaint pipelines for UNets without mask channels. Random numbers are drawn in the same
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
class Inpainting:
    """Inpainting of one row: the start picture's ``latents`` [1, C, h, w], the ``noise`` added to them, and the ``mask``
    [1, 1, h, w], which is 1 where the picture is repainted."""

    latents: torch.Tensor
    noise: torch.Tensor
    mask: torch.Tensor

    def blend(self, latents: torch.Tensor, scheduler: Any, family: Any, timestep: Any) -> torch.Tensor:
        """Keep ``latents`` inside the mask and the start picture outside, with the noise of ``timestep``, None for none."""
        background = self.latents if timestep is None else family.add_noise(scheduler, self.latents, self.noise, timestep)
        return (1 - self.mask) * background + self.mask * latents


def start_latents(
    model: Model, request: Request, scheduler: Any, timestep: Any, generator: torch.Generator
) -> tuple[torch.Tensor, Inpainting | None]:
    """Return the latents before the first step, at ``timestep``, and the Inpainting if there is a mask. On the device."""
    start, family = request.start, model.family
    assert start is not None and family is not None
    shape = family.latent_shape(request)
    with model.threads.use(model.pipeline.vae, shape[2] * shape[3]):
        pixels = model.pipeline.image_processor.preprocess(start.image).to(model.device)
        clean = vae.encode(model.pipeline.vae, pixels, generator)
    noise = randn_tensor(shape, generator=generator, dtype=torch.float32).to(model.device)
    if start.mask is None:
        return family.add_noise(scheduler, clean, noise, timestep), None
    full = start.strength == 1  # pure noise, as in diffusers
    latents = family.initial_latents(scheduler, noise) if full else family.add_noise(scheduler, clean, noise, timestep)
    randn_tensor(shape, generator=generator)  # the pipelines also encode the masked picture, which draws random numbers
    return latents, Inpainting(latents=clean, noise=noise, mask=latent_mask(start, *shape[2:]).to(model.device))


def latent_mask(start: StartPicture, height: int, width: int) -> torch.Tensor:
    """Return the mask of the latents [1, 1, height, width]: 1 where any pixel of the square is at least half white."""
    image = start.mask_image
    assert image is not None
    grey = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(1, 1, image.height, image.width)
    return torch.nn.functional.adaptive_max_pool2d((grey >= 128).float(), (height, width))
