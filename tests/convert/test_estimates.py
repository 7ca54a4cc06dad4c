"""Estimates follow what conversions took on this machine, and survive a file that is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.convert.service import catalogue
from lib.convert.service.estimates import NAME, REST_SECONDS, Estimates


def hop(seconds: float) -> list[dict]:
    return [{"source": "onnx", "target": "onnx-fp16", "seconds": seconds}]


def of(estimates: Estimates, target: str, size: int) -> dict:
    return next(row for row in estimates.targets("onnx", size) if row["target"] == target)


def test_estimates_learn_and_are_kept(tmp_path: Path) -> None:
    estimates = Estimates(tmp_path / "data")
    guess = next(row for row in catalogue.targets("onnx") if row["target"] == "onnx-fp16")["seconds"]
    assert of(estimates, "onnx-fp16", 1000)["seconds"] == guess + REST_SECONDS
    assert not of(estimates, "onnx-fp16", 1000)["measured"]
    estimates.note(1000, hop(90.0), 130.0)  # the first one also loads the tools
    for _ in range(2):
        estimates.note(1000, hop(3.0), 7.0)
    for again in (estimates, Estimates(tmp_path / "data")):
        found = of(again, "onnx-fp16", 1000)
        assert found["measured"] and found["seconds"] == pytest.approx(7.0)
        assert of(again, "onnx-fp16", 2_000_000_000)["seconds"] > 100  # a larger model takes longer
        assert not of(again, "onnx-slim", 1000)["measured"]
        assert of(again, "onnx-slim", 1000)["seconds"] < REST_SECONDS + 30


@pytest.mark.parametrize("text", ["", "[]", "{", '{"rest": 3}', '{"rest": [["a", "b"]]}', '{"rest": [[1]]}'])
def test_a_broken_file_counts_as_none(text: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(text)
    assert not of(Estimates(tmp_path), "onnx-fp16", 1000)["measured"]


def test_what_is_installed_first_is_said(tmp_path: Path) -> None:
    rows = {(row["source"], row["target"]): row for row in Estimates(tmp_path).table()}
    assert rows["onnx", "onnx-fp16"]["install_mb"] == 0
    assert rows["saved-model", "onnx"]["install_mb"] > 100
