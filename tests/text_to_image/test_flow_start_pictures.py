"""Start pictures and masks for models of flow matching: as diffusers' own pipelines draw, in any company."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting
from PIL import Image

from lib.text_to_image.families.flow_schedulers import FLOW_SCHEDULERS
from lib.text_to_image.models import Model
from lib.text_to_image.request import Request
from lib.text_to_image.start_picture import StartPicture
from tests.text_to_image.test_batch import alone, furthest, together
from tests.text_to_image.test_flow_families import OWN_NOISE, ask, company
from tests.text_to_image.test_image_to_image import with_starts
from tests.text_to_image.test_start_picture import box, scene


def plain(model: Model, request: Request) -> Image.Image:
    """What diffusers' own pipeline makes of the same parts, with the scheduler that they come with."""
    start = request.start
    assert start is not None
    more: dict[str, Any] = {"image": start.image, "width": request.width, "height": request.height}
    auto = AutoPipelineForImage2Image
    if start.mask is not None:
        auto, more = AutoPipelineForInpainting, more | {"mask_image": start.mask_image}
    image = auto.from_pipe(model.pipeline)(
        request.prompt,
        strength=start.strength,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        generator=torch.Generator().manual_seed(request.seed),
        **more,
    ).images[0]
    return start.composite(image)


# diffusers' inpainting for SD3 wants 16 channels, and forgets the shift of the latents when it decodes
@pytest.mark.parametrize(
    ("name", "masked"), [("sd3", False), ("flux", False), ("flux", True), ("schnell", False), ("schnell", True)]
)
def test_a_row_is_what_the_pipelines_make(flows: dict[str, Model], name: str, masked: bool) -> None:
    mask = box(64, 64, 16) if masked else None
    for strength, scale in ((0.3, 5.0), (0.75, 0.0), (1.0, 5.0)):
        start = StartPicture.from_images(scene(64, 64), mask, strength=strength)
        request = ask(flows[name], steps=7, scheduler="Euler", guidance_scale=scale, start=start)
        assert furthest(plain(flows[name], request), alone(flows[name], request)) <= 1, strength


@pytest.mark.parametrize("strength", [0.3, 0.75, 1.0])
@pytest.mark.parametrize("scheduler", FLOW_SCHEDULERS)
@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_all_schedulers_walk_back_to_the_start_picture(
    flows: dict[str, Model], name: str, scheduler: str, strength: float
) -> None:
    """Where the velocity leads straight to the start picture: they begin as noisy as they believe to be."""
    family = flows[name].family
    assert family is not None
    request = ask(
        flows[name], steps=20, scheduler=scheduler, start=StartPicture.from_images(scene(64, 64), strength=strength)
    )
    plan, timesteps = family.make_schedule(request)
    timesteps = family.remaining_timesteps(plan, timesteps, request)
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(family.latent_shape(request), generator=generator) for _ in range(2))
    latents = family.add_noise(plan, clean, noise, timesteps[0])
    options = {"generator": generator} if scheduler in OWN_NOISE else {}
    for t in timesteps:
        # of what is there now, whatever the timestep's rounding: (x - x0) / sigma
        at = plan.begin_index if plan.step_index is None else plan.step_index
        sigma = float(plan.sigmas[at])
        assert abs(sigma - float(t) / 1000) <= 0.001
        if scheduler not in OWN_NOISE:
            assert torch.allclose(latents, (1 - sigma) * clean + sigma * noise, atol=0.02)
        latents = plan.step((latents - clean) / sigma, t, latents, **options, return_dict=False)[0]
    assert torch.allclose(latents, clean, atol=0.01)


@pytest.mark.parametrize("bucket", [0, 4])
@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_company_changes_nothing(flows: dict[str, Model], name: str, bucket: int) -> None:
    requests = [flows[name].resolve(request) for request in with_starts(company(flows[name], 9, seed=4), 64)]
    for request, picture in zip(requests, together(flows[name], requests, bucket=bucket), strict=True):
        assert furthest(picture, alone(flows[name], request, bucket=bucket)) <= (0 if bucket else 1), request
