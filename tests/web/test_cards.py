"""Errors as a page words them."""

from __future__ import annotations

import pytest

from lib.errors import InvalidFile, InvalidValue, WorkbenchError
from web.cards import failed, sentence


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            InvalidValue("runs", 5000, "a whole number from 1 to 1000"),
            "Timed runs cannot be “5000”. Allowed: a whole number",
        ),
        (InvalidValue("min_agreement", "most", "a number"), "Min agreement cannot be “most”. Allowed: a number."),
        (InvalidValue("target", "", "a format, such as onnx"), "Target is missing. Allowed: a format, such as onnx."),
        (InvalidValue("sizes", "x" * 1000, "pairs"), "Sizes cannot be “" + "x" * 79 + "…”. Allowed: pairs."),
        (InvalidFile("This is a text file."), "This is a text file."),
    ],
)
def test_a_person_reads_a_label_and_what_is_allowed(error: WorkbenchError, words: str) -> None:
    assert sentence(error, {"runs": "Timed runs"}).startswith(words)


def test_a_value_stays_text() -> None:
    card = failed(InvalidValue("name", "<img src=x>", "letters"), "not done")
    assert "<img" not in card and "&lt;img src=x&gt;" in card
