"""Image to image and inpainting in the shared batch: as diffusers' own pipelines draw, in any company."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting
from PIL import Image

from lib.errors import GenerationFailed, InvalidValue
from lib.text_to_image import png
from lib.text_to_image.batch import Batch
from lib.text_to_image.engine import Engine
from lib.text_to_image.events import Step, Stopped
from lib.text_to_image.group import describe
from lib.text_to_image.image_to_image import latent_mask
from lib.text_to_image.models import Model
from lib.text_to_image.request import SCHEDULERS, Request
from lib.text_to_image.schedulers import make_scheduler
from lib.text_to_image.start_picture import StartPicture
from lib.text_to_image.submit import submit_each
from tests.text_to_image.test_batch import WORDS, alone, cpu_has_too_little, furthest, mixed, together
from tests.text_to_image.test_engine import BEFORE_THE_END, slow, small, wait_for  # noqa: F401
from tests.text_to_image.test_start_picture import box, scene


def with_starts(requests: list[Request], size: int, seed: int = 0) -> list[Request]:
    """Every third as it is, every third with a picture, every third with a mask, too."""
    r = random.Random(seed)
    found = []
    for k, request in enumerate(requests):
        mask = box(size, size, r.randrange(8, size - 8)) if k % 3 == 2 else None
        start = StartPicture.from_images(scene(size, size, k), mask, strength=r.choice((0.5, 0.75, 1.0)))
        found.append(replace(request, start=start) if k % 3 else request)
    return found


def plain(model: Model, request: Request) -> Image.Image:
    """What diffusers' own pipeline makes of the same parts."""
    start, pipeline = request.start, model.pipeline
    assert start is not None
    more: dict[str, Any] = {"image": start.image}
    if start.mask is None:
        other = AutoPipelineForImage2Image.from_pipe(pipeline)
    else:
        other = AutoPipelineForInpainting.from_pipe(pipeline)
        more |= {"mask_image": start.mask_image, "width": request.width, "height": request.height}
    other.scheduler = make_scheduler(request.scheduler, pipeline.scheduler)
    other.set_progress_bar_config(disable=True)
    image = other(
        request.prompt,
        strength=start.strength,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        generator=torch.Generator().manual_seed(request.seed),
        **more,
    ).images[0]
    return start.composite(image)


@pytest.mark.parametrize("name", ["sd", "sd2", "sdxl"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("masked", [False, True])
def test_a_row_is_what_the_pipelines_make(loaded: dict[str, Model], name: str, scheduler: str, masked: bool) -> None:
    mask = box(64, 64, 24) if masked else None  # along the latents' pixels: the pipelines take one pixel of eight
    for strength, scale in ((0.3, 5.0), (0.75, 0.0), (1.0, 5.0)):
        start = StartPicture.from_images(scene(64, 64), mask, strength=strength)
        asked = Request(prompt=WORDS[0], steps=7, seed=5, scheduler=scheduler, guidance_scale=scale, start=start)
        request = loaded[name].resolve(asked)
        assert furthest(plain(loaded[name], request), alone(loaded[name], request)) <= 1, strength


@pytest.mark.slow
def test_company_changes_nothing(embedded: Model) -> None:
    requests = with_starts(mixed(18), 128)
    for request, picture in zip(requests, together(embedded, requests), strict=True):
        assert furthest(picture, alone(embedded, request)) <= 1, request


@pytest.mark.parametrize("name", ["sd2", "sdxl"])
def test_company_changes_nothing_in_other_families(loaded: dict[str, Model], name: str) -> None:
    requests = with_starts(mixed(9, seed=2), 64)
    for request, picture in zip(requests, together(loaded[name], requests), strict=True):
        assert furthest(picture, alone(loaded[name], request)) <= 1, request


def test_reproducible_mode_is_exact_to_the_bit(sd: Model) -> None:
    requests = with_starts(mixed(12, seed=3), 64)
    for request, picture in zip(requests, together(sd, requests, bucket=6), strict=True):
        assert picture.tobytes() == alone(sd, request, bucket=6).tobytes(), request


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_start_picture_saves_steps(sd: Model, scheduler: str) -> None:
    asked = Request(prompt="a", seed=1, steps=10, scheduler=scheduler)
    whole = Batch(sd).join(sd.resolve(asked))
    batch = Batch(sd)
    row = batch.join(sd.resolve(replace(asked, start=StartPicture.from_images(scene(64, 64), strength=0.3))))
    assert row.steps == row.request.steps_run == 3
    assert len(row.timesteps) <= len(whole.timesteps) - 7
    seen = [row.step]
    while not batch.step():
        seen.append(row.step)
    assert seen == sorted(seen) and row.step == 3


def test_less_strength_keeps_more_of_the_picture(embedded: Model) -> None:
    def away(strength: float) -> float:
        asked = Request(prompt=WORDS[0], seed=3, start=StartPicture.from_images(scene(), strength=strength))
        return float(np.abs(np.asarray(alone(embedded, asked), float) - np.asarray(scene(), float)).mean())

    assert away(0.1) < away(0.5) < away(1.0)


def test_only_what_is_masked_changes(embedded: Model) -> None:
    asked = Request(prompt=WORDS[0], seed=3, steps=8, start=StartPicture.from_images(scene(), box(), strength=1.0))
    picture = np.asarray(alone(embedded, asked), int)
    assert np.array_equal(picture[:, :64], np.asarray(scene())[:, :64])
    assert np.abs(picture[:, 70:] - np.asarray(scene(), int)[:, 70:]).mean() > 10


def test_a_mask_of_few_pixels_reaches_the_latents(sd: Model) -> None:
    mask = Image.new("L", (64, 64))
    mask.putpixel((13, 30), 255)
    found = latent_mask(StartPicture.from_images(scene(64, 64), mask), 8, 8)
    assert found.shape == (1, 1, 8, 8) and found.sum() == found[0, 0, 3, 1] == 1


def test_the_file_tells_of_the_start_picture(sd: Model) -> None:
    start = StartPicture.from_images(scene(64, 64), box(64, 64), strength=0.6)
    request = sd.resolve(Request(prompt="a", seed=3, steps=5, start=start))
    info = describe(sd, request, 0.1)
    assert (info["strength"], info["start_picture"], info["mask"]) == (0.6, start.digest, start.mask_digest)
    last = png.parameters_text(info).splitlines()[-1]
    assert f"Denoising strength: 0.6, Start picture: {start.digest}, Mask: {start.mask_digest}, " in last
    data = png.encode(start.image, info)
    assert png.read_request(data) == replace(request, start=None)  # nobody has the picture
    info = describe(sd, replace(request, start=None), 0.1)
    assert not {"strength", "start_picture", "mask"} & info.keys() and "strength" not in png.parameters_text(info)


@pytest.mark.parametrize(("steps", "strength", "least"), [(4, 0.2, "0.25"), (150, 0.001, "0.007"), (1, 0.99, "1.0")])
def test_a_strength_that_leaves_no_step(steps: int, strength: float, least: str) -> None:
    with pytest.raises(InvalidValue, match=rf"strength was {strength}; allowed: at least {least} for {steps} steps"):
        Request(prompt="a", steps=steps, start=StartPicture.from_images(scene(64, 64), strength=strength))
    assert (
        Request(prompt="a", steps=steps, start=StartPicture.from_images(scene(64, 64), strength=float(least))).steps_run == 1
    )


def test_the_size_follows_the_start_picture(embedded: Model) -> None:
    wide = StartPicture.from_images(scene(320, 160))
    request = embedded.resolve(Request(prompt="a", steps=2, seed=1, start=wide))
    assert (request.width, request.height) == (176, 96) == (request.start.width, request.start.height)  # type: ignore[union-attr]
    assert alone(embedded, request).size == (176, 96)
    with pytest.raises(InvalidValue, match=r"width was 1024"):
        embedded.resolve(Request(prompt="a", width=1024, start=wide))


def test_a_start_picture_that_breaks_the_encoder_spares_the_others(
    small: Engine,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = small._models.get("sd")
    assert model is not None
    encode = model.pipeline.vae.encode

    def picky(pixels: torch.Tensor) -> Any:
        if pixels.mean() > 0.9:
            raise ValueError("no white pictures")
        if pixels.mean() < -0.9:
            cpu_has_too_little()
        return encode(pixels)

    monkeypatch.setattr(model.pipeline.vae, "encode", picky)
    pictures = [scene(64, 64), *(Image.new("RGB", (64, 64), c) for c in ("white", "black")), scene(64, 64, 1)]
    tickets = [small.submit(Request(prompt="a", steps=4, start=StartPicture.from_images(p))) for p in pictures]
    with pytest.raises(GenerationFailed, match="ValueError"):
        tickets[1].result()
    with pytest.raises(GenerationFailed, match="too little memory"):
        tickets[2].result()
    assert tickets[0].result() and tickets[3].result()


@pytest.mark.slow
def test_fifty_clients_begin_with_their_own_picture(small: Engine, sd: Model) -> None:  # noqa: F811
    requests, pictures = with_starts(mixed(50, seed=11), 64), dict[int, Any]()

    def client(k: int) -> None:
        pictures[k] = small.submit(requests[k], owner=f"client {k % 5}").result()

    threads = [threading.Thread(target=client, args=(k,)) for k in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, request in enumerate(requests):
        assert pictures[k].info.get("start_picture") == (request.start.digest if request.start else None)
        assert furthest(pictures[k].image, alone(sd, request)) <= 1, request


def test_several_with_one_start_picture(small: Engine, sd: Model) -> None:  # noqa: F811
    asked = Request(prompt="a", steps=6, seed=7, count=3, start=StartPicture.from_images(scene(200, 200), box(200, 200)))
    done = [ticket.result() for ticket in submit_each(small, asked)]
    assert [one.info["seed"] for one in done] == [7, 8, 9]
    assert len({one.image.tobytes() for one in done}) == 3
    for one in done:
        assert furthest(one.image, alone(sd, replace(asked, count=1, seed=one.info["seed"]))) <= 1


def test_stop_in_the_middle_keeps_a_preview_and_frees_the_rows(
    small: Engine,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow(monkeypatch, small, 0.1)
    ticket = small.submit(Request(prompt="a", steps=150, start=StartPicture.from_images(scene(96, 64), strength=0.8)))
    seen: list[Any] = []
    wait_for(lambda: seen.extend(ticket.take_events()) or any(isinstance(e, Step) and e.step > 2 for e in seen))
    ticket.cancel()
    *_, stopped, _ = seen + ticket.take_events()
    assert isinstance(stopped, Stopped) and 1 <= stopped.step < stopped.steps == 120
    assert stopped.image.size == (ticket.request.width, ticket.request.height)
    data = png.encode(stopped.image, stopped.info)
    assert f"Stopped at step {stopped.step} of 120" in png.parameters_text(png.read_info(data))
    assert png.read_request(data) == replace(ticket.request, start=None)
    wait_for(lambda: small.status()["rows_in_batch"] == 0, seconds=BEFORE_THE_END)
