"""Metadata made, changed, written into files and read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lib.errors import InvalidValue
from lib.tflite import metadata as tflite_metadata
from lib.tflite.metadata import Metadata, TensorNote
from tests.tflite import files

LABELS = ("crane", "Zebrafuß 🦓", "crane", 'the dog\'s, "really"')


@pytest.fixture
def source(tmp_path: Path) -> Path:
    files.classifier(tmp_path / "source.tflite")
    return tmp_path / "source.tflite"


def written(source: Path, metadata: Metadata) -> Path:
    target = source.with_name("target.tflite")
    tflite_metadata.write(source, target, metadata)
    return target


def test_a_file_without_metadata_has_none_and_names_to_fill_in(source: Path) -> None:
    assert tflite_metadata.read(source) is None
    blank = tflite_metadata.blank(source)
    assert [(n.name, n.shape) for n in (*blank.inputs, *blank.outputs)] == [("image", (1, 8, 8, 3)), ("scores", (1, 4))]


def test_what_is_written_is_read(source: Path) -> None:
    made = tflite_metadata.classifier(
        LABELS, name="Birds", author="Zoë", license="MIT", description="two\nlines", mean=[127.1], std=[128]
    )
    made = replace(made, version="3", files={"notes.txt": b"read me", "b/Ü.bin": bytes(range(256))})
    found = tflite_metadata.read(written(source, made))
    assert found == made
    assert found is not None and found.inputs[0].shape == (1, 8, 8, 3)
    assert found.mean == (pytest.approx(127.1, abs=1e-5),)


def test_the_same_metadata_make_the_same_bytes(source: Path, tmp_path: Path) -> None:
    made = tflite_metadata.classifier(LABELS)
    first = written(source, made).read_bytes()
    assert written(source, made).read_bytes() == first


def test_a_file_is_written_over_itself(source: Path) -> None:
    for name in ("first", "second"):
        tflite_metadata.write(source, source, tflite_metadata.classifier(LABELS, name=name))
        found = tflite_metadata.read(source)
        assert found is not None and found.name == name
    assert {p.name for p in source.parent.iterdir()} == {source.name}


def test_changes_by_name_and_nothing_else(source: Path) -> None:
    before = tflite_metadata.read(written(source, tflite_metadata.classifier(LABELS, name="a", author="b")))
    assert before is not None
    changes: dict[str, Any] = {"name": "c", "version": "2", "labels": ["1", "2", "3", "4"], "mean": 1, "std": [2.0]}
    after = tflite_metadata.edited(before, changes)
    assert after == replace(before, name="c", version="2", labels=("1", "2", "3", "4"), mean=(1.0,), std=(2.0,))
    assert tflite_metadata.read(written(source, after)) == after


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"colour": "red"}, "field was 'colour'; allowed: name, description"),
        ({"autor": "Ada"}, "mean, std. Did you mean author?"),
        ({"name": 3}, "name was 3; allowed: text"),
        ({"name": "x" * 20_000}, "at most 10,000 characters; it has 20,000"),
        ({"name": "\ud800"}, "allowed: text"),
        ({"labels": ["a", "b", "c"]}, "the number of labels was 3; allowed: 4, one for each class of the file."),
        ({"labels": "abcd"}, "allowed: a list of strings"),
        ({"labels": []}, "1 to 100,000"),
        ({"labels": ["a", "b", "c", ""]}, "a label was ''"),
        ({"labels": ["a", "b", "c", " d"]}, "without leading or trailing spaces"),
        ({"labels": ["a", "b", "c", "d\ne"]}, "one line"),
        ({"labels": ["a", "b", "c", "d\u2028e"]}, "one line"),
        ({"labels": ["a", "b", "c", 4]}, "a label was 4"),
        ({"labels": ["a", "b", "c", "d" * 256]}, "1 to 255 characters"),
        ({"mean": [1, 2, 3]}, "3 and 1 numbers"),
        ({"mean": "127"}, "a number, or a list with one per channel"),
        ({"mean": True}, "a number"),
        ({"mean": []}, "a number"),
        ({"mean": [float("nan")]}, "finite numbers that float32 holds"),
        ({"mean": [1e300]}, "finite numbers that float32 holds"),
        ({"std": 0}, "numbers above 0"),
        ({"std": [1e-60]}, "numbers above 0"),
    ],
)
def test_wrong_changes_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        tflite_metadata.edited(tflite_metadata.classifier(LABELS), changes)
    assert said in caught.value.message


def test_a_form_may_send_back_what_old_files_have() -> None:
    """Labels with spaces and empty ones are read from others' files: they are refused only where they are new."""
    old = replace(tflite_metadata.classifier(list("abcd")), labels=(" a", "", "a", "a"), mean=(), std=())
    same = {"labels": list(old.labels), "mean": [], "std": [], "name": "new"}
    assert tflite_metadata.edited(old, same) == replace(old, name="new")


def test_normalisation_by_channel_is_kept_but_not_offered_to_mediapipe(source: Path) -> None:
    with pytest.raises(InvalidValue, match="one value for all channels"):
        tflite_metadata.classifier(LABELS, mean=[1, 2, 3], std=[1, 1, 1])
    made = tflite_metadata.edited(tflite_metadata.classifier(LABELS), {"mean": [1.5, 2, 3], "std": [4, 5, 6]})
    found = tflite_metadata.read(written(source, made))
    assert found is not None and (found.mean, found.std) == ((1.5, 2.0, 3.0), (4.0, 5.0, 6.0))


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (tflite_metadata.classifier(list("abc")), "the number of labels was 3; allowed: 4, one for each score"),
        (Metadata(), "inputs was '0 notes'; allowed: 1"),
        (Metadata(inputs=(TensorNote(),), outputs=(TensorNote(), TensorNote())), "outputs was '2 notes'; allowed: 1"),
        (replace(tflite_metadata.classifier(list("abcd")), labels=("a", "b\nc", "d", "e")), r"a label was 'b\\nc'"),
    ],
)
def test_metadata_of_another_model_are_refused(source: Path, metadata: Metadata, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        written(source, metadata)
    assert [p.name for p in source.parent.iterdir()] == [source.name]


def test_labels_go_to_the_output_that_they_fit(tmp_path: Path) -> None:
    model, _ = files.classifier_model()
    model.subgraphs[0].outputs = [3, 5]  # the colour, three numbers, too
    (tmp_path / "a.tflite").write_bytes(files.packed(model))
    made = tflite_metadata.edited(tflite_metadata.blank(tmp_path / "a.tflite"), {"labels": list("abcd")})
    tflite_metadata.write(tmp_path / "a.tflite", tmp_path / "b.tflite", made)
    assert files.table(tmp_path / "b.tflite").subgraphMetadata[0].outputTensorMetadata[0].associatedFiles is None
    assert tflite_metadata.read(tmp_path / "b.tflite") == made


def test_the_first_of_several_graphs_is_meant(tmp_path: Path) -> None:
    model, _ = files.classifier_model()
    other, _ = files.classifier_model()
    other.subgraphs[0].inputs = []
    model.subgraphs.append(other.subgraphs[0])
    (tmp_path / "a.tflite").write_bytes(files.packed(model))
    made = tflite_metadata.classifier(LABELS)
    tflite_metadata.write(tmp_path / "a.tflite", tmp_path / "b.tflite", made)
    assert tflite_metadata.read(tmp_path / "b.tflite") == made
