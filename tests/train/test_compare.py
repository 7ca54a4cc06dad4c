"""Two runs side by side, and a difference called what it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lib.statistics import wilson
from lib.train.compare import compare, differences
from lib.train.run_record import Difference
from lib.train.runs import Run, Runs


def made(runs: Runs, name: str, right: list[bool], **recipe: object) -> Run:
    run = runs.new(name, {"recipe": recipe, "data": {"fingerprint": "f"}})
    pictures = [{"sha256": f"{i:016x}", "label": 1, "predicted": int(r)} for i, r in enumerate(right)]
    (run.folder / "evaluation.json").write_text(
        json.dumps({"classes": ["x", "y"], "parts": {"validation": {"pictures": pictures}}})
    )
    count, correct = len(right), sum(right)
    part = {"count": count, "correct": correct, "accuracy": correct / count, "interval": list(wilson(correct, count))}
    run.update(result={"on": "validation", **part, "parts": {"validation": part}}, status="done")
    return run


def test_one_picture_of_sixty_is_no_difference(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    one = made(runs, "a", [True] * 57 + [False] * 3, epochs=3, seed=0)
    two = made(runs, "b", [True] * 56 + [False] * 4, epochs=5, seed=0)
    found = compare(one, two)
    row = found.results["validation"]
    assert (row.only_first, row.only_second, row.p, row.same_pictures) == (1, 0, 1.0, 60)
    assert "No significant difference" in found.verdict and "95.0%" in found.verdict and "93.3%" in found.verdict
    assert found.recipe == [Difference(what="epochs", first=3, second=5)] and found.data == []


def test_twenty_of_sixty_is_one(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    found = compare(made(runs, "a", [False] * 20 + [True] * 40), made(runs, "b", [True] * 60))
    assert "b is better" in found.verdict and found.results["validation"].p < 1e-5


def test_other_pictures_cannot_be_paired(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    one, two = made(runs, "a", [True] * 5), made(runs, "b", [True] * 5)
    shown = json.loads((two.folder / "evaluation.json").read_text())
    for k, picture in enumerate(shown["parts"]["validation"]["pictures"]):
        picture["sha256"] = f"other{k}"
    (two.folder / "evaluation.json").write_text(json.dumps(shown))
    assert "different pictures" in compare(one, two).verdict


def test_a_run_without_a_result(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    assert "no result in common" in compare(made(runs, "a", [True]), runs.new("b", {})).verdict


def test_differences_of_nested_records() -> None:
    one, two = {"a": {"b": 1, "c": 2}, "d": 1}, {"a": {"b": 1, "c": 3}, "e": 2}
    assert differences(one, two) == [
        Difference(what="a.c", first=2, second=3),
        Difference(what="d", first=1, second=None),
        Difference(what="e", first=None, second=2),
    ]
    assert differences({"a": {"b": 1}}, None) == [Difference(what="a.b", first=1, second=None)]
    assert differences({"a": {"b": 1}}, {"a": 5}) == [Difference(what="a", first={"b": 1}, second=5)]


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"classes": ["x"], "parts": {"test": {"pictures": [{"label": 0, "predicted": 1}]}}}',
        '{"classes": ["x", "y"], "parts": {"test": {"confusion": [[1, 0]]}}}',
        '{"classes": ["x", "y"], "parts": {"test": {"confusion": [[1, 0], [1]]}}}',
        '{"classes": ["x", "y"], "parts": {"test": 5}}',
    ],
)
def test_a_damaged_evaluation_is_none(tmp_path: Path, content: str) -> None:
    run = Runs(tmp_path).new("a", {})
    (run.folder / "evaluation.json").write_text(content)
    assert run.evaluation() is None
