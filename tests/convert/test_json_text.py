"""JSON of visitors: a name that comes twice is found, and large objects take time in proportion."""

from __future__ import annotations

import time

import pytest

from lib.convert.core import json_text
from lib.errors import InvalidFile


def test_a_name_that_comes_twice_is_said() -> None:
    with pytest.raises(InvalidFile, match="'b' occurs twice"):
        json_text.parse(b'{"a": 1, "b": {"b": 2}, "b": 3}', "config.json")
    assert json_text.parse(b'{"a": {"a": 1}}', "config.json") == {"a": {"a": 1}}


def test_fifty_thousand_names_and_one_of_them_twice_take_no_time() -> None:
    text = "{" + ",".join(f'"k{k}":0' for k in range(50_000)) + ',"z":0,"z":0}'
    start = time.process_time()
    with pytest.raises(InvalidFile, match="'z' occurs twice"):
        json_text.parse(text.encode(), "config.json")
    assert time.process_time() - start < 2  # comparing every name with every other takes 30 s
