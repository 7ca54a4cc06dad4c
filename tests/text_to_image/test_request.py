from __future__ import annotations

import json
from pathlib import Path

import pytest

from lib.errors import InvalidValue
from lib.text_to_image.request import Request

CASES = json.loads((Path(__file__).parent.parent / "cases" / "bad_requests.json").read_text())


@pytest.mark.parametrize(("values", "message"), CASES, ids=lambda x: str(x)[:40])
def test_a_bad_value_is_named_with_what_is_allowed(values: dict, message: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        Request.parse(values)
    assert message in str(caught.value)
    assert "allowed: " in str(caught.value)


def test_a_long_prompt_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidValue) as caught:
        Request(prompt="x" * 2001)
    assert len(str(caught.value)) < 200


def test_numbers_may_come_as_text() -> None:
    request = Request.parse({"prompt": "a", "steps": "12", "guidance_scale": "3.5", "seed": "9", "width": "128"})
    assert (request.steps, request.guidance_scale, request.seed, request.width) == (12, 3.5, 9, 128)


def test_a_prompt_may_be_any_text_that_a_file_can_hold() -> None:
    assert Request(prompt="чашка ☕\0\ud800").prompt == "чашка ☕?"


def test_settling_draws_a_seed_once() -> None:
    first, second = (Request(prompt="a").settle().seed for _ in range(2))
    assert first != second and 0 <= first < 2**32
    assert Request(prompt="a", seed=0).settle().seed == 0


@pytest.mark.parametrize(("scale", "guided"), [(0, False), (1, False), (1.1, True), (7.5, True)])
def test_guidance_up_to_one_is_none(scale: float, guided: bool) -> None:
    assert Request(prompt="a", guidance_scale=scale).guided is guided
