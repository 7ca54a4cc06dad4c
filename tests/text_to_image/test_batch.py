"""Rows that share UNet calls make the pictures they would make alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from lib.errors import GenerationFailed, InvalidValue
from lib.text_to_image.batch import Batch, Row
from lib.text_to_image.models import Model
from lib.text_to_image.request import SCHEDULERS, Request
from lib.text_to_image.schedulers import make_scheduler
from lib.text_to_image.threads import Threads

WORDS = ("a red car on a track", "a blue boat", "a white cat in the snow", "a robot under water", "a pink flower")


def mixed(count: int, seed: int = 0, schedulers: Sequence[str] = SCHEDULERS) -> list[Request]:
    """Requests that differ in everything, every scheduler among them."""
    r = random.Random(seed)
    return [
        Request(
            prompt=r.choice(WORDS),
            negative_prompt=r.choice(("", "blue")),
            steps=r.randint(2, 9),
            guidance_scale=r.choice((0.0, 1.0, 3.0, 7.5)),
            seed=r.randrange(2**32),
            scheduler=schedulers[k % len(schedulers)],
        )
        for k in range(count)
    ]


def alone(model: Model, request: Request, bucket: int = 0) -> Image.Image:
    batch = Batch(model, bucket=bucket)
    row = batch.join(model.resolve(request))
    while not batch.step():
        pass
    assert row.error is None, row.error
    return batch.decode([row])[0]


def together(model: Model, requests: list[Request], bucket: int = 0, seed: int = 1) -> list[Image.Image]:
    """Joins at random ticks; everybody leaves when done."""
    r, batch, waiting, rows, done = random.Random(seed), Batch(model, limit=7, bucket=bucket), list(requests), {}, {}
    while len(done) < len(requests):
        while waiting and (not batch.rows or r.random() < 0.6):
            request = waiting.pop(0)
            rows[id(batch.join(model.resolve(request)))] = request
        for row in batch.step():
            assert row.error is None, row.error
            done[id(rows[id(row)])] = batch.decode([row])[0]
        rows |= {id(row): rows[id(row)] for row in batch.rows}
    return [done[id(request)] for request in requests]


def furthest(a: Image.Image, b: Image.Image) -> int:
    return int(np.abs(np.asarray(a, dtype=int) - np.asarray(b, dtype=int)).max())


@pytest.mark.slow
def test_the_embedded_model_in_company_differs_by_at_most_one_of_255(embedded: Model) -> None:
    requests = mixed(18)
    for request, picture in zip(requests, together(embedded, requests), strict=True):
        assert furthest(picture, alone(embedded, request)) <= 1, request


def test_reproducible_mode_is_exact_to_the_bit(embedded: Model) -> None:
    requests = mixed(10, seed=3)
    for request, picture in zip(requests, together(embedded, requests, bucket=6), strict=True):
        assert picture.tobytes() == alone(embedded, request, bucket=6).tobytes(), request


@pytest.mark.parametrize("name", ["sd", "sd2", "sdxl"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("scale", [0.0, 5.0])
def test_a_row_is_what_the_plain_pipeline_makes(loaded: dict[str, Model], name: str, scheduler: str, scale: float) -> None:
    model = loaded[name]
    request = model.resolve(Request(prompt=WORDS[0], steps=5, guidance_scale=scale, seed=5, scheduler=scheduler))
    pipeline, trained = model.pipeline, model.pipeline.scheduler
    try:
        pipeline.scheduler = make_scheduler(scheduler, trained)
        plain = pipeline(
            request.prompt,
            num_inference_steps=5,
            guidance_scale=scale,
            generator=torch.Generator().manual_seed(5),
            width=request.width,
            height=request.height,
        ).images[0]
    finally:
        pipeline.scheduler = trained
    assert furthest(plain, alone(model, request)) <= 1


@pytest.mark.parametrize("name", ["sd2", "sdxl"])
def test_other_families_share_a_batch_too(loaded: dict[str, Model], name: str) -> None:
    requests = mixed(9, seed=2)
    for request, picture in zip(requests, together(loaded[name], requests), strict=True):
        assert furthest(picture, alone(loaded[name], request)) <= 1


def test_sizes_other_than_the_trained_one(sd: Model) -> None:
    assert alone(sd, Request(prompt="a", steps=2, seed=1, width=72, height=128)).size == (72, 128)
    with pytest.raises(InvalidValue, match="width was 136; allowed: 64 to 128 for sd"):
        sd.resolve(Request(prompt="a", width=136))


def test_an_unguided_row_costs_one_unet_row(sd: Model) -> None:
    batch = Batch(sd)
    batch.join(sd.resolve(Request(prompt="a", seed=1, guidance_scale=1)))
    batch.join(sd.resolve(Request(prompt="a", seed=1, guidance_scale=2)))
    assert batch.num_rows == 3


def test_steps_as_the_user_counts_them(sd: Model) -> None:
    """Heun and PNDM call the UNet more often than ``steps``; progress still ends at ``steps``."""
    for scheduler in SCHEDULERS:
        batch = Batch(sd)
        row = batch.join(sd.resolve(Request(prompt="a", seed=1, steps=6, scheduler=scheduler)))
        seen = [row.step]
        while not batch.step():
            seen.append(row.step)
        assert seen == sorted(seen) and row.step == 6


def test_steps_that_a_scheduler_refuses(sd: Model) -> None:
    with pytest.raises(InvalidValue, match="steps was 120"):
        Batch(sd).join(sd.resolve(Request(prompt="a", seed=1, steps=120, scheduler="LCM")))


def test_a_row_that_breaks_takes_no_other_with_it(sd: Model) -> None:
    batch, requests = Batch(sd), mixed(4, seed=6)
    rows = [batch.join(sd.resolve(replace(request, steps=6))) for request in requests]

    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError

    rows[1].scheduler.step = broken  # type: ignore[method-assign]
    rows[2].latents = torch.full_like(rows[2].latents, torch.nan)
    ended: list[Row] = []
    while batch.rows:
        ended += batch.step()
    assert isinstance(rows[1].error, GenerationFailed) and "ZeroDivisionError" in str(rows[1].error)
    assert isinstance(rows[2].error, GenerationFailed) and "not numbers" in str(rows[2].error)
    for k in (0, 3):
        assert furthest(batch.decode([rows[k]])[0], alone(sd, replace(requests[k], steps=6))) <= 1


def test_a_network_that_breaks_on_one_row_spares_the_others(sd: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, requests = Batch(sd), [replace(r, steps=3) for r in mixed(3, seed=8)]
    rows = [batch.join(sd.resolve(r)) for r in requests]
    poison, forward = rows[1].positive.hidden, sd.pipeline.unet.forward

    def picky(sample, timestep, encoder_hidden_states, **rest):  # type: ignore[no-untyped-def]
        if any(torch.equal(h, poison) for h in encoder_hidden_states):
            raise ValueError("bad row")
        return forward(sample, timestep, encoder_hidden_states=encoder_hidden_states, **rest)

    rows[0].positive = replace(rows[0].positive, hidden=rows[0].positive.hidden + 1e-3)
    rows[2].positive = replace(rows[2].positive, hidden=rows[2].positive.hidden + 1e-3)
    monkeypatch.setattr(sd.pipeline.unet, "forward", picky)
    while batch.rows:
        batch.step()
    assert [r.error is None for r in rows] == [True, False, True]
    assert rows[0].left == rows[2].left == 0


def cuda_has_too_little() -> None:
    raise torch.OutOfMemoryError("out of memory")


def cpu_has_too_little() -> None:
    torch.empty(1 << 50, dtype=torch.uint8)


@pytest.mark.parametrize("fail", [cuda_has_too_little, cpu_has_too_little])
def test_out_of_memory_lowers_the_limit_and_tries_again(
    sd: Model, monkeypatch: pytest.MonkeyPatch, fail: Callable[[], None]
) -> None:
    requests = [replace(r, steps=3) for r in mixed(6, seed=4)]
    expected = [alone(sd, r) for r in requests]
    forward = sd.pipeline.unet.forward

    def small(sample, *args, **kwargs):  # type: ignore[no-untyped-def]
        if len(sample) > 3:
            fail()
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(sd.pipeline.unet, "forward", small)
    batch = Batch(sd, limit=16)
    rows = [batch.join(sd.resolve(r)) for r in requests]
    while batch.rows:
        batch.step()
    assert 1 <= batch.limit <= 3
    for row, picture in zip(rows, expected, strict=True):
        assert row.error is None and furthest(batch.decode([row])[0], picture) <= 1


def test_previews_come_closer_to_the_picture(embedded: Model) -> None:
    batch = Batch(embedded)
    row = batch.join(embedded.resolve(Request(prompt=WORDS[0], seed=3, steps=12)))
    assert batch.previews([row]) == [None]
    previews = []
    while not batch.step():
        previews.append(batch.previews([row])[0])
    picture = batch.decode([row])[0].resize((16, 16), Image.Resampling.BOX)
    distance = [np.abs(np.asarray(p, float) - np.asarray(picture, float)).mean() for p in previews]
    assert previews[0].size == (16, 16)
    assert distance[-1] < 0.5 * distance[0] and distance[-1] < 16


def test_a_decoder_that_finds_too_little_memory_gets_half(sd: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [replace(r, steps=2) for r in mixed(4, seed=5)]
    expected = [alone(sd, r) for r in requests]
    decode, seen = sd.pipeline.vae.decode, []

    def small(latents, *args, **kwargs):  # type: ignore[no-untyped-def]
        seen.append(len(latents))
        if len(latents) > 1:
            cpu_has_too_little()
        return decode(latents, *args, **kwargs)

    batch = Batch(sd)
    rows = [batch.join(sd.resolve(r)) for r in requests]
    while batch.rows:
        batch.step()
    monkeypatch.setattr(sd.pipeline.vae, "decode", small)
    monkeypatch.setattr(sd, "threads", Threads(torch.device("meta")))  # no core gets a part of its own
    for picture, other in zip(batch.decode(rows), expected, strict=True):
        assert furthest(picture, other) <= 1
    assert seen[:3] == [4, 2, 1]
