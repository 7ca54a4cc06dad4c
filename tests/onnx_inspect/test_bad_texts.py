"""ONNX text that is none: refused in words, or a report; onnx's parser is C++ and gets it in the child."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lib.errors import InvalidFile
from lib.jobs import Jobs
from lib.onnx_inspect.catalogue import LINEAR, LOOP, SCALED
from tests.onnx_inspect.ask import Answer, ask

HEAD = '<ir_version: 10, opset_import: ["" : 20]> '
DEEP = "g (float[1] x) => (float[1] y) {" + "y = If (x) <then_branch = g () => (float[1] y) {" * 3900 + "}>" * 3900 + "}"
ODD = [chr(c) for c in b'\0"()<>[]{},:=@#01'] + ["\U0001f600", "\x85", "\ud800", "9" * 20]
BAD = {
    "nothing": ("  \n", "There is no text"),
    "zeros": ("\0" * 1000, "Syntax error in the ONNX text"),
    "half a surrogate pair": (HEAD + "g\ud800 () => () {}", "cannot be encoded"),
    "too long": (" " * 300_000, "at most 200,000"),
    "graphs nested 3,900 deep": (HEAD + DEEP, "nest over 200 deep"),
    "types nested 30,000 deep": (
        HEAD + "g (" + "seq(" * 30_000 + "float" + ")" * 30_000 + " x) => () {}",
        "nest over 200 deep",
    ),
    "types nested 150 deep": (HEAD + "g (" + "seq(" * 150 + "float" + ")" * 150 + " x) => () {}", "nest over 100 deep"),
    "a number of 26 digits": (HEAD + "g () => (int64[99999999999999999999999999] y) {}", "a number in it is too large"),
    "HTML": ("<script>alert(1)</script>", "Syntax error in the ONNX text"),
    "JSON": ('{"model": 1}', "Syntax error in the ONNX text"),
}


def parse(jobs: Jobs, text: str, folder: Path) -> Answer:
    return ask(jobs, "from_text", text=text, out=str(folder))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_text(name: str, jobs: Jobs, tmp_path: Path) -> None:
    text, words = BAD[name]
    found = parse(jobs, text, tmp_path)
    assert isinstance(found, InvalidFile) and words in found.message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", [100, pytest.param(300, marks=pytest.mark.slow)])
def test_every_damaged_text_is_answered(count: int, jobs: Jobs, tmp_path: Path) -> None:
    rng, kinds = np.random.default_rng(0), Counter[str]()
    for k in range(count):
        text = list((LINEAR, LOOP, SCALED)[k % 3])
        for _ in range(int(rng.integers(1, 4))):
            at, how = int(rng.integers(len(text))), int(rng.integers(4))
            if how == 0:
                del text[at : at + int(rng.integers(1, 6))]
            elif how == 1:
                text[at:at] = text[at : at + int(rng.integers(1, 40))]
            else:
                text[at : at + how - 2] = ODD[int(rng.integers(len(ODD)))]
        found = parse(jobs, "".join(text), tmp_path)
        assert isinstance(found, dict | InvalidFile), ("".join(text), found)
        kinds[type(found).__name__] += 1
    assert all(kinds[kind] > count // 20 for kind in ("dict", "InvalidFile")), kinds
