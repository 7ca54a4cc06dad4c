"""The door to show and edit metadata: JSON in and out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lib.errors import InvalidFile, InvalidValue
from lib.tflite import tasks
from tests.tflite import files


@pytest.fixture
def path(tmp_path: Path) -> str:
    files.classifier(tmp_path / "a.tflite")
    return str(tmp_path / "a.tflite")


def progress(*_: Any) -> None:
    pass


def test_a_file_without_metadata_is_filled_in(path: str, tmp_path: Path) -> None:
    empty = tasks.metadata(progress, path)
    assert not empty["present"] and empty["labels"] == [] and empty["problems"] == []
    assert empty["outputs"] == [{"name": "scores", "description": "", "content": "", "range": None, "shape": [1, 4]}]
    changes = {"name": "Birds", "labels": ["a", "ü", "c", "d"], "mean": [0], "std": [1]}
    shares: list[float] = []
    out = str(tmp_path / "out.tflite")
    made = tasks.edit(lambda stage, share: shares.append(share), path, changes, out)
    assert made == empty | changes | {"present": True}
    assert json.loads(json.dumps(made, allow_nan=False)) == made == tasks.metadata(progress, out)
    assert shares == sorted(shares)
    assert tasks.metadata(progress, path) == empty


def test_a_form_sends_all_fields_back(path: str, tmp_path: Path) -> None:
    out = str(tmp_path / "out.tflite")
    first = tasks.edit(progress, path, {"labels": list("abca"), "version": "1"}, out)
    assert first["problems"] == ["Duplicate labels: 'a'."]
    form = {name: first[name] for name in first["fields"]} | {"version": "2"}
    assert tasks.edit(progress, out, form, out) == first | {"version": "2"}


def test_a_normalization_beside_the_one_inside_is_warned_of(path: str, tmp_path: Path) -> None:
    out, more = str(tmp_path / "out.tflite"), str(tmp_path / "more.tflite")
    assert tasks.edit(progress, path, {"labels": list("abcd"), "mean": [0], "std": [1]}, out)["problems"] == []
    assert tasks.edit(progress, out, {"author": "Ada", "mean": 0}, more)["problems"] == []
    assert tasks.edit(progress, out, {"mean": 127.5, "std": 127.5}, more)["problems"] == [tasks.INSIDE]
    assert tasks.edit(progress, more, {"mean": 1}, str(tmp_path / "last.tflite"))["problems"] == []


@pytest.mark.parametrize("changes", [{}, None, {"shape": [1]}, {"labels": ["a"]}, {"std": [0.0], "mean": [1]}])
def test_wrong_changes_write_nothing(path: str, tmp_path: Path, changes: Any) -> None:
    with pytest.raises(InvalidValue):
        tasks.edit(progress, path, changes, str(tmp_path / "out.tflite"))
    assert [p.name for p in tmp_path.iterdir()] == ["a.tflite"]


@pytest.mark.parametrize("data", [b"", b"no model" * 10, b"PK\x03\x04" + bytes(60)])
def test_what_is_no_such_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "b.tflite").write_bytes(data)
    with pytest.raises(InvalidFile):
        tasks.metadata(progress, str(tmp_path / "b.tflite"))


def test_long_texts_of_others_are_cut(tmp_path: Path) -> None:
    from lib.tflite import metadata_table

    table = metadata_table.generated().ModelMetadataT()
    table.description = b"x" * 50_000
    files.with_table(tmp_path / "b.tflite", metadata_table.packed(table))
    shown = tasks.metadata(progress, str(tmp_path / "b.tflite"))["description"]
    assert len(shown) == 10_000 and shown.endswith("x…")
