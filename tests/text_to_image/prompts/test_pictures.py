"""Weighted and long prompts in a batch: each row as it would be alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.text_to_image.families.unet import pad_prompts
from lib.text_to_image.models import Model
from lib.text_to_image.request import Request
from tests.text_to_image.test_batch import alone, furthest, mixed, together

LONG = "a red car on a track, " * 6
PROMPTS = ("a (red:1.4) car", LONG, "a [blue] boat BREAK in the (snow)", "a white cat", 3 * LONG)
NEGATIVES = ("", LONG, "(blue:1.3)")


def requests(count: int, seed: int) -> list[Request]:
    found = enumerate(mixed(count, seed=seed))
    return [replace(r, prompt=PROMPTS[k % 5], negative_prompt=NEGATIVES[k % 3]) for k, r in found]


@pytest.mark.parametrize("name", ["tiny-scenes", "sd2", "sdxl"])
def test_rows_of_different_lengths_share_a_batch(embedded: Model, loaded: dict[str, Model], name: str) -> None:
    model, asked = loaded.get(name, embedded), requests(10, seed=5)
    for request, picture in zip(asked, together(model, asked), strict=True):
        assert furthest(picture, alone(model, request)) <= 1, request


@pytest.mark.slow
def test_reproducible_mode_is_exact_to_the_bit(embedded: Model) -> None:
    asked = requests(10, seed=6)
    for request, picture in zip(asked, together(embedded, asked, bucket=6), strict=True):
        assert picture.tobytes() == alone(embedded, request, bucket=6).tobytes(), request


@pytest.mark.parametrize("name", ["sd", "sdxl"])
@pytest.mark.parametrize("prompt", ["a red car on a track", LONG])
def test_a_prompt_in_chunks_is_what_the_plain_pipeline_makes_of_its_embeddings(
    loaded: dict[str, Model], name: str, prompt: str
) -> None:
    model, blue = loaded[name], prompt.replace("red", "blue")  # the pipeline takes two prompts of one length only
    own = "DDIM" if name == "sd" else "Euler"
    asked = Request(prompt=prompt, negative_prompt=blue, steps=3, seed=4, guidance_scale=5, scheduler=own)
    request = model.resolve(asked)
    with torch.inference_mode():
        positive, negative = model.family.encode(request)
    assert len(positive.hidden) == len(negative.hidden) == (64 if prompt == LONG else 32)
    pooled = {
        f"{sign}pooled_prompt_embeds": c.added["text_embeds"][None]
        for sign, c in (("", positive), ("negative_", negative))
        if c.added
    }
    plain = model.pipeline(
        prompt_embeds=positive.hidden[None],
        negative_prompt_embeds=negative.hidden[None],
        num_inference_steps=3,
        guidance_scale=5,
        generator=torch.Generator().manual_seed(4),
        width=request.width,
        height=request.height,
        **pooled,
    ).images[0]
    assert furthest(plain, alone(model, request)) <= 1


def test_emphasis_changes_the_picture_and_the_company_does_not(embedded: Model) -> None:
    plain, loud = (alone(embedded, Request(prompt=p, steps=8, seed=1)) for p in ("a red car", "a (red:1.6) car"))
    assert np.abs(np.asarray(plain, int) - np.asarray(loud, int)).mean() > 0.5


def test_padding_is_hidden() -> None:
    hidden, mask = pad_prompts([torch.ones(2, 3), torch.ones(4, 3)])
    assert hidden.shape == (2, 4, 3) and mask is not None
    assert mask.tolist() == [[True, True, False, False], [True] * 4]
    assert pad_prompts([torch.ones(2, 3)] * 2)[1] is None
