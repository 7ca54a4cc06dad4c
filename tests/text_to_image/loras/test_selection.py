"""What requests name: text fields, JSON and tags in prompts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lib.errors import InvalidValue
from lib.text_to_image.loras.selection import extract_tags, parse, with_tags
from lib.text_to_image.request import Request


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ()),
        (" , ", ()),
        ("ink", (("ink", 1.0),)),
        ("ink:0.8, neon light : 2", (("ink", 0.8), ("neon light", 2.0))),
        (["ink:0.5", "neon"], (("ink", 0.5), ("neon", 1.0))),
        ([["ink", 0.5], ("neon", "1.5")], (("ink", 0.5), ("neon", 1.5))),
        ({"ink": 0}, (("ink", 0.0),)),
        ("ink:0.5, ink:0.7", (("ink", 1.2),)),
    ],
)
def test_values(value: Any, expected: tuple) -> None:
    assert parse(value) == tuple((name, pytest.approx(weight)) for name, weight in expected)


@pytest.mark.parametrize(
    "value",
    [
        *("ink:2.1", "ink:-1", "ink:nan", "ink:", "ink:x", ":1", 7, None, True, [3], [["ink"]], [["ink", True]], {3: 1}),
        *("ink:1.5, ink:1.5", ",".join(f"n{k}" for k in range(9)), "n" * 101),
    ],
)
def test_bad_values(value: Any) -> None:
    with pytest.raises(InvalidValue, match=r"loras was .*; allowed: "):
        parse(value)


@pytest.mark.parametrize(
    ("prompt", "rest", "loras"),
    [
        ("a car", "a car", ()),
        (" a car ", " a car ", ()),
        ("a car <lora:ink:0.8>", "a car", (("ink", 0.8),)),
        ("<lora:ink> a <lora:neon light:1.5:1.5>, car", "a, car", (("ink", 1.0), ("neon light", 1.5))),
        ("a <hypernet:x:1> car", "a <hypernet:x:1> car", ()),
    ],
)
def test_tags_of_a1111(prompt: str, rest: str, loras: tuple) -> None:
    assert extract_tags(prompt) == (rest, loras)


@pytest.mark.parametrize("tag", ["<lora:a:0.5:0.8>", "<lora:a:te=1>", "<lora:a:3>", "<lora:a:-0.5>"])
def test_tags_with_weights_that_are_not_taken(tag: str) -> None:
    with pytest.raises(InvalidValue, match=r"prompt was .*allowed: <lora:name:weight>"):
        Request(prompt=f"a car {tag}")


def test_a_request_moves_its_tags_and_keeps_them_through_json_and_text() -> None:
    request = Request.parse({"prompt": "a car <lora:ink:0.8>", "loras": "neon, ink:0.2"})
    assert request.prompt == "a car" and request.loras == (("neon", 1.0), ("ink", 1.0))
    assert Request.parse(request.as_dict()) == request
    assert {one.loras for one in replace(request, count=2).per_picture()} == {request.loras}
    assert with_tags(request.prompt, request.loras) == "a car <lora:neon:1> <lora:ink:1>"
    assert Request(prompt=with_tags(request.prompt, request.loras)) == request


def test_a_prompt_of_tags_alone_says_what_is_missing() -> None:
    with pytest.raises(InvalidValue, match="a few words that say what to draw"):
        Request(prompt="<lora:ink:1>")


def test_emphasis_is_checked_with_the_rest_of_a_request() -> None:
    with pytest.raises(InvalidValue, match="negative_prompt was"):
        Request(prompt="a car", negative_prompt="(blue:99)")
