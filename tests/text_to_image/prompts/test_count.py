"""The counter, and what is told of prompts that are cut."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lib.errors import InvalidValue, ModelUnavailable
from lib.settings import Settings
from lib.text_to_image.families import FAMILIES
from lib.text_to_image.families.flux import TOKENS as FLUX_TOKENS
from lib.text_to_image.families.stable_diffusion_3 import TOKENS as SD3_TOKENS
from lib.text_to_image.models import Catalogue, Model
from lib.text_to_image.notes import notes
from lib.text_to_image.prompts.count import TOKENIZERS, TokenCounter, count_tokens
from lib.text_to_image.request import Request


def test_every_family_is_counted() -> None:
    assert TOKENIZERS.keys() == FAMILIES.keys()
    assert (TOKENIZERS["StableDiffusion3Pipeline"][0][1], TOKENIZERS["FluxPipeline"][0][1]) == (SD3_TOKENS, FLUX_TOKENS)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("", {"tokens": 6, "room": 30, "chunks": 1}),
        ("sdxl", {"tokens": 6, "room": 30, "chunks": 1}),
        ("sd3", {"tokens": 6, "room": 254, "chunks": 1}),
        ("flux", {"tokens": 6, "room": 510, "chunks": 1}),
    ],
)
def test_of_models_by_name(settings: Settings, model: str, expected: dict[str, Any]) -> None:
    counter = TokenCounter(Catalogue(settings))
    assert counter.count(model, "a red car on a track").as_dict() == expected | {"cut": ""}


def test_a_loaded_model_counts_the_same(settings: Settings, loaded: dict[str, Model]) -> None:
    counter, text = TokenCounter(Catalogue(settings)), "a (red:1.2) car, " * 20
    for name in ("sd", "sdxl", "sd3", "flux"):
        assert counter.count(name, text) == count_tokens(loaded[name].pipeline, text)
    assert count_tokens(loaded["pixart"].pipeline, text) is None


def test_models_that_cannot_be_counted(settings: Settings) -> None:
    counter = TokenCounter(Catalogue(replace(settings, models=(*settings.models, "someone/model"))))
    for name in ("pixart", "someone/model"):
        with pytest.raises(ModelUnavailable, match=f"The tokens of {name} cannot be counted"):
            counter.count(name, "a")
    with pytest.raises(InvalidValue, match="model was 'x'"):
        counter.count("x", "a")
    with pytest.raises(InvalidValue, match="weights of words"):
        counter.count("sd", "(a:99)")


def test_a_cut_prompt_is_told(loaded: dict[str, Model]) -> None:
    long = "car " * 240 + "boat house"
    (note,) = notes(loaded["sd"], loaded["sd"].resolve(Request(prompt=long, guidance_scale=5)))
    assert note == "The prompt has 242 tokens and sd reads 240: the end was left out, from “boat house”."
    (note,) = notes(loaded["sd"], Request(prompt="a car", negative_prompt=long, guidance_scale=5))
    assert note.startswith("The negative prompt has 242 tokens")
    assert notes(loaded["sd"], Request(prompt="a car", negative_prompt=long, guidance_scale=1)) == []
    (note,) = notes(loaded["flux"], Request(prompt="a " * 510 + "car"))
    assert note == "The prompt has 511 tokens and flux reads 510: the end was left out, from “car”."


def test_where_words_have_no_weight(loaded: dict[str, Model]) -> None:
    assert notes(loaded["sd3"], Request(prompt="a (red:1.2) car")) == [
        "sd3 reads brackets in the prompt as text: its words cannot be weighted."
    ]
    assert notes(loaded["sd3"], Request(prompt=r"a \(red\) car")) == [] == notes(loaded["sd"], Request(prompt="a (red) car"))
    assert notes(loaded["pixart"], Request(prompt="a (red:1.2) car")) == []


def test_the_embedded_model_tells_what_it_does_not_know(embedded: Model) -> None:
    assert notes(embedded, Request(prompt="a red car")) == []
    assert notes(embedded, Request(prompt="a unicorn"))[0].startswith("tiny-scenes knows none of the words")
