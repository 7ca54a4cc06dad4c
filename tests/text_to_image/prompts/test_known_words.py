"""What the embedded model is asked for and does not know."""

from __future__ import annotations

import pytest

from lib.text_to_image.prompts.known_words import notes
from models.tiny_scenes.scenes import all_scenes

EXAMPLES = (
    "a red car on a track",
    "a photo of a yellow hot air balloon in the mountains",
    "a large green robot in the city at night",
)


@pytest.mark.parametrize(
    "prompt", [*EXAMPLES, "A (Goldfish:1.3) under the sea, best quality", "photo of the RED racing car"]
)
def test_nothing_is_said_of_what_it_knows(prompt: str) -> None:
    assert notes(prompt) == []


def test_nor_of_any_of_its_scenes() -> None:
    assert not any(notes(scene.prompt) for scene in all_scenes())


@pytest.mark.parametrize("prompt", ["an astronaut riding a horse", "a photo of a beautiful sunset", "日本", "12345", "!"])
def test_no_known_word(prompt: str) -> None:
    (note,) = notes(prompt)
    assert note.startswith("tiny-scenes knows none of the words that say what to draw")
    assert (
        "12 objects (car, house, boat," in note and "10 colours (red, orange," in note and "on a track, on a beach," in note
    )


def test_the_unknown_words_are_listed() -> None:
    assert ": astronaut, riding, horse. It draws" in notes("an astronaut riding a horse")[0]
    assert ": a0" not in notes("x")[0]
    many = notes(" ".join(f"word{chr(97 + k)}" for k in range(12)))[0]
    assert "wordh and 4 more. It draws" in many


def test_a_colour_or_a_place_without_an_object() -> None:
    (note,) = notes("a red dragon on a beach")
    assert note.startswith("The prompt names nothing that tiny-scenes can draw: dragon. It draws one of")


def test_an_object_among_unknown_words() -> None:
    assert notes("a red car, masterpiece, 4k cars") == [
        "tiny-scenes ignores words that it does not know: masterpiece, 4k, cars."
    ]


def test_several_objects() -> None:
    assert notes("a car and a house") == ["tiny-scenes draws one object per picture; the prompt names 2: car, house."]
