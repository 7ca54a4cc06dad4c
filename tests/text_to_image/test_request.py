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
    first, second = (Request(prompt="a").with_seed().seed for _ in range(2))
    assert first != second and 0 <= first < 2**32
    assert Request(prompt="a", seed=0).with_seed().seed == 0


@pytest.mark.parametrize(("scale", "guided"), [(0, False), (1, False), (1.1, True), (7.5, True)])
def test_guidance_up_to_one_is_none(scale: float, guided: bool) -> None:
    assert Request(prompt="a", guidance_scale=scale).guided is guided


def test_several_pictures_have_seeds_that_follow_each_other() -> None:
    several = Request(prompt="a", seed=5, count=3).per_picture()
    assert [(one.seed, one.count) for one in several] == [(5, 1), (6, 1), (7, 1)]
    assert Request(prompt="a", seed=5).per_picture() == [Request(prompt="a", seed=5)]
    last = Request(prompt="a", seed=2**32 - 2, count=3).per_picture()
    assert [one.seed for one in last] == [2**32 - 2, 2**32 - 1, 0]


def test_a_random_seed_is_drawn_once_for_all() -> None:
    seeds = [one.seed for one in Request(prompt="a", count=8).per_picture()]
    assert seeds[0] >= 0 and seeds == [(seeds[0] + k) % 2**32 for k in range(8)]


def test_a_picture_s_parameters_know_no_count() -> None:
    assert "count" not in Request(prompt="a").as_dict()
    assert Request.parse(Request(prompt="a").as_dict()) == Request(prompt="a")
