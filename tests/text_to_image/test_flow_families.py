"""Stable Diffusion 3 and Flux in the batch: as diffusers' own pipelines draw, in any company."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from lib.errors import InvalidValue
from lib.settings import Settings
from lib.text_to_image.batch import Batch
from lib.text_to_image.families.flow_schedulers import FLOW_SCHEDULERS
from lib.text_to_image.families.flux import pack, unpack
from lib.text_to_image.group import finish
from lib.text_to_image.model_loading import load
from lib.text_to_image.models import Model, Source
from lib.text_to_image.request import SCHEDULERS, Request
from tests import tiny
from tests.text_to_image.test_batch import WORDS, alone, furthest, mixed, together

OWN_NOISE = {"Euler a", "LCM"}  # draw random numbers at every step


def ask(model: Model, **values: Any) -> Request:
    """At half the trained size, the smallest allowed."""
    size = model.size // 2
    return model.resolve(Request(**{"prompt": WORDS[0], "seed": 5, "steps": 4, "width": size, "height": size, **values}))


def company(model: Model, count: int, seed: int) -> list[Request]:
    size = model.size // 2
    return [replace(r, steps=min(r.steps, 4), width=size, height=size) for r in mixed(count, seed, FLOW_SCHEDULERS)]


def plain(model: Model, request: Request) -> Any:
    """The pipeline's own picture with the request's scheduler and timesteps, which it is kept from setting anew.

    The pipelines give schedulers no generator, and Flux's steps its latents in patches: both would be other random numbers.
    """
    pipeline, trained, family = model.pipeline, model.pipeline.scheduler, model.family
    assert family is not None
    scheduler, timesteps = family.make_schedule(request)
    scheduler.timesteps = torch.stack(timesteps)
    scheduler.set_timesteps = lambda steps=None, device=None, sigmas=None, mu=None: None
    generator = torch.Generator().manual_seed(request.seed)
    options = {"generator": generator} if request.scheduler in OWN_NOISE else {}
    step, (height, width) = scheduler.step, family.latent_shape(request)[2:]

    def patched(output: torch.Tensor, t: Any, latents: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        if latents.ndim == 4:
            return step(output, t, latents, **options, return_dict=False)
        return (
            pack(step(unpack(output, height, width), t, unpack(latents, height, width), **options, return_dict=False)[0]),
        )

    scheduler.step = patched
    try:
        pipeline.scheduler = scheduler
        return pipeline(
            request.prompt,
            negative_prompt=request.negative_prompt or None,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            generator=generator,
            width=request.width,
            height=request.height,
        ).images[0]
    finally:
        pipeline.scheduler = trained


@pytest.mark.parametrize("scale", [0.0, 5.0])
@pytest.mark.parametrize("scheduler", FLOW_SCHEDULERS)
@pytest.mark.parametrize("name", ["sd3", "flux", "schnell"])
def test_a_row_is_what_the_plain_pipeline_makes(flows: dict[str, Model], name: str, scheduler: str, scale: float) -> None:
    model = flows[name]
    request = ask(model, guidance_scale=scale, scheduler=scheduler, negative_prompt="blue" if name == "sd3" else "")
    assert furthest(plain(model, request), alone(model, request)) <= 1


@pytest.mark.parametrize("name", ["sd3", "flux", "schnell"])
def test_the_timesteps_are_the_pipelines_own(flows: dict[str, Model], name: str) -> None:
    """Those of Euler, which the models come with: with the shift by size of "dev"."""
    model = flows[name]
    seen: list[list[float]] = []
    for width in (model.size // 2, model.size // 2 + 64):
        request = ask(model, steps=3, width=width, scheduler="Euler")
        model.pipeline(request.prompt, width=width, height=request.height, num_inference_steps=3, output_type="latent")
        seen.append(model.pipeline.scheduler.timesteps.tolist())
        assert [float(t) for t in model.family.make_schedule(request)[1]] == seen[-1]  # type: ignore[union-attr]
    assert (seen[0] == seen[1]) == (name != "flux")


@pytest.mark.parametrize("scheduler", FLOW_SCHEDULERS)
@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_all_schedulers_walk_from_noise_to_the_same_picture(flows: dict[str, Model], name: str, scheduler: str) -> None:
    """Noise levels fall from about 1 to 0 with the shift of the model; where the velocity leads straight to a picture,
    each of them arrives there."""
    family = flows[name].family
    assert family is not None
    request = ask(flows[name], steps=30, scheduler=scheduler)
    plan, timesteps = family.make_schedule(request)
    middle = float(family.make_schedule(replace(request, scheduler="Euler"))[1][15])
    assert float(timesteps[0]) > 995 and 0.85 < float(timesteps[len(timesteps) // 2]) / middle < 1.15
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.rand(family.latent_shape(request), generator=generator), torch.randn(family.latent_shape(request))
    options = {"generator": generator} if scheduler in OWN_NOISE else {}
    latents = family.initial_latents(plan, noise)
    for k, t in enumerate(timesteps):
        sigma = float(plan.sigmas[k]) if scheduler != "Heun" else float(t) / 1000
        latents = plan.step((latents - clean) / sigma, t, latents, **options, return_dict=False)[0]
    assert torch.allclose(latents, clean, atol=0.02)


@pytest.mark.parametrize("scheduler", FLOW_SCHEDULERS)
@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_nothing_of_a_step_is_on_another_device(flows: dict[str, Model], name: str, scheduler: str) -> None:
    """``meta`` stands for an accelerator: it takes the CPU's scalars, and no other tensor of it."""
    pipeline, meta = tiny.PIPELINES[name](), torch.device("meta")
    request = ask(flows[name], scheduler=scheduler)
    here = type(flows[name].family)(pipeline, torch.device("cpu"), torch.float32)  # type: ignore[arg-type, misc]
    condition = here.encode(request)[0]
    pipeline.transformer.to(meta)
    family = type(here)(pipeline, meta, torch.float32)
    there = {key: value.to(meta) for key, value in condition.added.items()}
    condition = replace(condition, hidden=condition.hidden.to(meta), added=there)
    plan, timesteps = family.make_schedule(request)
    latents = family.initial_latents(plan, torch.empty(family.latent_shape(request), device=meta))
    for t in timesteps:
        output = family.predict(family.scale_model_input(plan, latents, t), torch.tensor([float(t)]), [condition])
        latents = plan.step(output, t, latents, return_dict=False)[0]
    assert latents.device == family.clean_estimate(latents, output, [float(t)]).device == meta


@pytest.mark.parametrize("name", ["sd3", "flux", "schnell"])
def test_in_company_differs_by_at_most_one_of_255(flows: dict[str, Model], name: str) -> None:
    requests = company(flows[name], 7, seed=2)
    for request, picture in zip(requests, together(flows[name], requests), strict=True):
        assert furthest(picture, alone(flows[name], request)) <= 1, request


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_reproducible_mode_is_exact_to_the_bit(flows: dict[str, Model], name: str) -> None:
    requests = company(flows[name], 6, seed=3)
    for request, picture in zip(requests, together(flows[name], requests, bucket=4), strict=True):
        assert picture.tobytes() == alone(flows[name], request, bucket=4).tobytes(), request


def test_guidance_costs_a_row_in_sd3_and_none_in_flux(flows: dict[str, Model]) -> None:
    for name, width in (("sd3", 2), ("flux", 1), ("schnell", 1)):
        batch = Batch(flows[name])
        request = ask(flows[name], guidance_scale=4.0)
        batch.join(request)
        assert batch.num_rows == flows[name].rows(request) == width


def test_guidance_and_negative_prompt_change_what_they_should(flows: dict[str, Model]) -> None:
    def picture(name: str, **values: Any) -> bytes:
        return alone(flows[name], ask(flows[name], steps=2, **values)).tobytes()

    assert picture("flux", guidance_scale=1.5) != picture("flux", guidance_scale=8.0)
    assert picture("schnell", guidance_scale=1.5) == picture("schnell", guidance_scale=8.0)
    assert picture("sd3", negative_prompt="") != picture("sd3", negative_prompt="a red car on a track")


def test_a_negative_prompt_that_is_not_used_is_told(flows: dict[str, Model]) -> None:
    for name, told in (("sd3", False), ("flux", True), ("schnell", True)):
        family = flows[name].family
        assert family is not None
        assert bool(family.notes(ask(flows[name], negative_prompt="blue"))) == told
        assert family.notes(ask(flows[name])) == []
    picture = Image.new("RGB", (64, 64))
    batch = Batch(flows["flux"])
    row = batch.join(ask(flows["flux"], negative_prompt="blue"))
    assert finish(flows["flux"], row, picture, 1.0).info["notes"] == [
        "This model takes no negative prompt, so yours was not used."
    ]


def test_stable_diffusion_3_without_t5(settings: Settings, tmp_path: Path) -> None:
    tiny.stable_diffusion_3(with_t5=False).save_pretrained(tmp_path)
    model = load(Source(name="sd3", folder=tmp_path), settings)
    assert model.pipeline.text_encoder_3 is None
    request = ask(model, scheduler="Euler")
    assert furthest(plain(model, request), alone(model, request)) <= 1


def test_the_last_preview_is_the_picture(flows: dict[str, Model]) -> None:
    for name in ("sd3", "flux"):
        model = flows[name]
        batch = Batch(model)
        row = batch.join(ask(model, scheduler="Euler", width=model.size // 2 + 32))
        assert batch.previews([row]) == [None]
        while not batch.step():
            preview = batch.previews([row])[0]
            assert preview is not None and preview.size == (row.request.width // 8, row.request.height // 8)
        family = model.family
        assert family is not None
        clean = family.clean_estimate(row.noisy, row.output, [float(row.timesteps[-1])])
        assert torch.allclose(clean, row.latents, atol=1e-5)


def test_patches_are_the_pipelines(flows: dict[str, Model]) -> None:
    latents, pipeline = torch.arange(2 * 4 * 6 * 8.0).reshape(2, 4, 6, 8), flows["flux"].pipeline
    assert torch.equal(pack(latents), pipeline._pack_latents(latents, 2, 4, 6, 8))
    assert torch.equal(unpack(pack(latents), 6, 8), latents)


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_what_does_not_fit_is_refused_with_what_does(flows: dict[str, Model], name: str) -> None:
    model = flows[name]
    for scheduler in set(SCHEDULERS) - set(FLOW_SCHEDULERS):
        with pytest.raises(InvalidValue, match=f"allowed: DPM.*, Heun for {name}"):
            ask(model, scheduler=scheduler)
    with pytest.raises(InvalidValue, match=f"width was {model.size - 8}; allowed: a multiple of 16 for {name}"):
        ask(model, width=model.size - 8)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_half_precision(settings: Settings, folders: dict[str, Path], name: str, dtype: str) -> None:
    model = replace(load(Source(name=name, folder=folders[name]), replace(settings, dtype=dtype)), size=128)
    assert model.pipeline.transformer.dtype == getattr(torch, dtype)
    for scheduler in FLOW_SCHEDULERS:
        assert len(set(alone(model, ask(model, steps=3, scheduler=scheduler)).tobytes())) > 8
