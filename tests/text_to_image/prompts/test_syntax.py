"""Emphasis, by the examples that A1111's web UI documents and by its corner cases."""

from __future__ import annotations

import pytest

from lib.errors import InvalidValue
from lib.text_to_image.prompts.syntax import parse, plain

CASES = [
    ("normal text", [("normal text", 1.0)]),
    ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
    ("a ((very)) good", [("a ", 1.0), ("very", 1.21), (" good", 1.0)]),
    ("a [little] rain", [("a ", 1.0), ("little", 1 / 1.1), (" rain", 1.0)]),
    ("(unbalanced", [("unbalanced", 1.1)]),
    ("[unbalanced", [("unbalanced", 1 / 1.1)]),
    ("unbalanced)", [("unbalanced)", 1.0)]),
    ("a smile :) here", [("a smile :) here", 1.0)]),
    ("ratio:1.5)", [("ratio:1.5)", 1.0)]),
    (r"\(literal\]", [("(literal]", 1.0)]),
    (r"back\\slash \d", [("back\\slash d", 1.0)]),
    ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
    ("(word:1.3)", [("word", 1.3)]),
    ("(word: 1.3 )", [("word", 1.3)]),
    ("(word:-.5)", [("word", -0.5)]),
    ("(a: b)", [("a: b", 1.1)]),
    ("(word:1.2.3)", [("word:1.2.3", 1.1)]),
    ("[word:0.5]", [("word:0.5", 1 / 1.1)]),
    ("(a [b) c]", [("a ", 1.1), ("b", 1.0), (" c", 1 / 1.1)]),
    (
        "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
        [
            *[("a ", 1.0), ("house", 1.573), (" ", 1.1), ("on", 1.0), (" a ", 1.1), ("hill", 0.55)],
            *[(", sun, ", 1.1), ("sky", 1.4641), (".", 1.1)],
        ],
    ),
    ("", [("", 1.0)]),
    ("()", [("", 1.0)]),
]


@pytest.mark.parametrize(("text", "expected"), CASES, ids=lambda x: x if isinstance(x, str) else "")
def test_as_a1111_reads_it(text: str, expected: list[tuple[str, float]]) -> None:
    (found,) = parse(text)
    assert [words for words, _ in found] == [words for words, _ in expected]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in expected])


def test_break_begins_a_new_group() -> None:
    assert parse("a car BREAK a (boat BREAK house) BREAKER") == [
        [("a car", 1.0)],
        [("a ", 1.0), ("boat", 1.1)],
        [("house", 1.1), (" BREAKER", 1.0)],
    ]


@pytest.mark.parametrize("text", ["a (word:11)", "(" * 30 + "word", "(word:-10.5)", "(word:" + "9" * 400 + ")"])
def test_a_weight_that_no_encoder_stands_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"negative_prompt was .*allowed: weights of words from -10 to 10"):
        parse(text, "negative_prompt")


def test_the_words_alone() -> None:
    assert plain(r"a (red:1.2) [car] BREAK \(new\)") == "a red car (new)"


def test_two_thousand_brackets_are_quick() -> None:
    assert plain("([" * 500 + "a" + "])" * 500) == "a"
