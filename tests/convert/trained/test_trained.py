"""Trained models through the converter: its verdicts beside an independent truth; ``docs/coverage.md`` has the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lib.convert.service.converter import Converter
from lib.settings import Settings
from tests.convert.trained import check, corpus
from tests.convert.trained.coverage import line
from tests.convert.trained.rows import Row, row
from tests.convert.trained.subject import FLOORS, Subject

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
# language models train for minutes; ``python -m tests.convert.trained.coverage --only bert`` measures them
LONG = {"bert", "gpt2", "minilm"}
NAMES = [name for name in corpus.makers() if name not in LONG]
GET_OUT = 0.95  # of the files that the check calls right
STATIC = 0.93  # EfficientNet-Lite0's top class with calibrated int8, on photographs never seen


@pytest.fixture(scope="module")
def converter() -> Iterator[Converter]:
    found = Converter(Settings(jobs=1))
    yield found
    found.close()


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Subject]:
    home = tmp_path_factory.mktemp("trained")
    return lambda name: corpus.make(name, home / name)


@pytest.fixture(scope="module")
def rows(converter: Converter, subject: Callable[[str], Subject]) -> Callable[[str], list[Row]]:
    """Every target of a model, converted once for all tests here."""
    known: dict[str, list[Row]] = {}

    def found(name: str) -> list[Row]:
        if name not in known:
            one = subject(name)
            known[name] = [row(converter, one, target) for target in one.targets]
        return known[name]

    return found


def test_kinds() -> None:
    """Else the figures below would be of one kind of model."""
    assert len(NAMES) >= 12


@pytest.mark.parametrize("name", NAMES)
def test_the_check_calls_the_source_right(name: str, subject: Callable[[str], Subject], tmp_path: Path) -> None:
    """A check that is wrong itself would call every file wrong."""
    one = subject(name)
    if one.files[0].endswith(".keras"):
        pytest.skip("only its own framework reads it")
    assert check.source(one).agreement >= FLOORS["fp32"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_wrong_is_proven(name: str, rows: Callable[[str], list[Row]]) -> None:
    assert not [line(r) for r in rows(name) if r.wrongly_proven]


def test_what_is_right_gets_out(rows: Callable[[str], list[Row]]) -> None:
    right = [r for name in NAMES for r in rows(name) if r.right]
    withheld = [line(r) for r in right if r.wrongly_withheld]
    assert len(withheld) <= (1 - GET_OUT) * len(right), "\n".join(withheld)


@pytest.mark.parametrize("target", ["onnx-fp16", "tflite-fp16"])
def test_efficientnet_in_float16_is_proven(target: str, rows: Callable[[str], list[Row]]) -> None:
    found = next(r for r in rows("efficientnet-lite0") if r.target == target)
    assert found.verdict == "proven", found.reason
    assert found.agreement is not None and found.agreement >= FLOORS["fp16"]


def test_calibrated_int8_keeps_the_class_of_unseen_photographs(rows: Callable[[str], list[Row]]) -> None:
    found = next(r for r in rows("efficientnet-lite0") if r.target == "onnx-int8-static")
    assert found.agreement is not None and found.agreement >= STATIC, line(found)
