"""Tokens in chunks of an encoder's length. The tests' tokenizer has room for 30 in each."""

from __future__ import annotations

import pytest

from lib.text_to_image.prompts.chunks import MAX_CHUNKS, tokenize
from models.tiny_scenes.tokenizer import build_tokenizer

TOKENIZER = build_tokenizer()
ROOM = 30


def words(ids: tuple[int, ...]) -> str:
    return TOKENIZER.decode([n for n in ids if n not in (TOKENIZER.bos_token_id, TOKENIZER.eos_token_id)])


@pytest.mark.parametrize("text", ["", "a red car on a track", "a photo, of: a cat; 4k", "car " * ROOM, "чашка ☕"])
def test_a_plain_prompt_is_what_the_tokenizer_makes_of_it(text: str) -> None:
    whole = TOKENIZER(text, padding="max_length", max_length=ROOM + 2, truncation=True).input_ids
    found = tokenize(TOKENIZER, text)
    assert [chunk.ids for chunk in found.chunks] == [tuple(whole)]
    assert set(found.chunks[0].weights) == {1.0} and found.room == ROOM and found.cut == ""


def test_weights_stand_at_the_tokens_of_their_words() -> None:
    (chunk,) = tokenize(TOKENIZER, "a (red:1.3) car").chunks
    assert chunk.weights[:5] == (1.0, 1.0, 1.3, 1.0, 1.0) and set(chunk.weights[5:]) == {1.0}
    assert chunk.used == 3


def test_a_long_prompt_takes_chunks_of_equal_length() -> None:
    found = tokenize(TOKENIZER, "car " * (2 * ROOM + 1))
    assert [chunk.used for chunk in found.chunks] == [ROOM, ROOM, 1]
    assert {len(chunk.ids) for chunk in found.chunks} == {ROOM + 2} == {len(chunk.weights) for chunk in found.chunks}
    assert (found.count, found.room, found.cut) == (2 * ROOM + 1, 3 * ROOM, "")
    assert found.as_dict() == {"tokens": 61, "room": 90, "chunks": 3, "cut": ""}


def test_words_after_a_near_comma_go_to_the_next_chunk() -> None:
    first, second = tokenize(TOKENIZER, "car " * 24 + ", a red boat on a beach in winter").chunks
    assert first.used == 25 and words(second.ids) == "a red boat on a beach in winter"


def test_a_comma_that_is_far_away_moves_nothing() -> None:
    first, second = tokenize(TOKENIZER, "car , " + "boat " * 40).chunks
    assert first.used == ROOM and words(second.ids) == " ".join(["boat"] * 12)


def test_a_comma_right_after_a_full_chunk_moves_nothing() -> None:
    first, second = tokenize(TOKENIZER, "car " * 25 + ", " + "car " * 4 + ", boat").chunks
    assert first.used == ROOM and words(second.ids).replace(" ", "") == ",boat"


def test_break_fills_the_chunk() -> None:
    first, second = tokenize(TOKENIZER, "a car BREAK a boat").chunks
    assert (words(first.ids), words(second.ids)) == ("a car", "a boat")


def test_what_no_chunk_holds_is_told() -> None:
    found = tokenize(TOKENIZER, "car " * (MAX_CHUNKS * ROOM) + "boat house")
    assert len(found.chunks) == MAX_CHUNKS and found.cut == "boat house"
    assert found.count == MAX_CHUNKS * ROOM + 2 and found.room == MAX_CHUNKS * ROOM
