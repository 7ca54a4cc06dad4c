"""MediaPipe's own ImageClassifier reads what is written: labels and scores come as they should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lib.tflite import metadata as tflite_metadata
from lib.tflite import repack
from lib.tflite.metadata import Metadata
from lib.tflite.metadata_problems import problems
from tests.tflite import files

LABELS = ("crane", "Zebrafuß 🦓", "crane", "the dog's")
REFUSED = (NotImplementedError, ValueError, FileNotFoundError)  # what its C interface makes of a status


def classified(path: Path, picture: np.ndarray) -> list[tuple[str | None, float]]:
    """Labels and scores in the order of the output."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=str(path)))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=picture)
        found = classifier.classify(image).classifications[0].categories
    return [(c.category_name, c.score) for c in sorted(found, key=lambda c: c.index)]


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (files.SIZE, files.SIZE, 3), np.uint8)


def written(folder: Path, metadata: Metadata) -> tuple[Path, np.ndarray]:
    weights = files.classifier(folder / "a.tflite")
    tflite_metadata.write(folder / "a.tflite", folder / "b.tflite", metadata)
    return folder / "b.tflite", weights


@pytest.mark.parametrize(("mean", "std"), [([0], [1]), ([127], [128]), ([127] * 3, [128] * 3)])
def test_labels_and_scores_come_as_written(tmp_path: Path, picture: np.ndarray, mean: list[float], std: list[float]) -> None:
    path, weights = written(tmp_path, tflite_metadata.classifier(LABELS, name="birds", mean=mean, std=std))
    found = classified(path, picture)
    assert tuple(label for label, _ in found) == LABELS
    wanted = files.scores(weights, picture, mean[0], std[0])
    np.testing.assert_allclose([score for _, score in found], wanted, atol=1e-4)


def test_an_edited_file_is_read_with_its_new_labels(tmp_path: Path, picture: np.ndarray) -> None:
    path, _ = written(tmp_path, tflite_metadata.classifier(LABELS))
    before = tflite_metadata.read(path)
    assert before is not None
    tflite_metadata.write(path, path, tflite_metadata.edited(before, {"labels": ["w", "x", "y", "z"], "author": "me"}))
    assert [label for label, _ in classified(path, picture)] == ["w", "x", "y", "z"]


def test_weights_from_behind_the_flatbuffer(tmp_path: Path, picture: np.ndarray) -> None:
    model, weights = files.classifier_model()
    (tmp_path / "a.tflite").write_bytes(files.outside(model))
    tflite_metadata.write(tmp_path / "a.tflite", tmp_path / "b.tflite", tflite_metadata.classifier(LABELS))
    found = classified(tmp_path / "b.tflite", picture)
    np.testing.assert_allclose([score for _, score in found], files.scores(weights, picture), atol=1e-4)


def test_ends_of_lines_and_spaces_are_read_as_mediapipe_reads_them(tmp_path: Path, picture: np.ndarray) -> None:
    path, _ = written(tmp_path, tflite_metadata.classifier(["xxxxx", "yyyyy", "zzzzz", "wwwww"]))
    data = b" one\r\ntwo \r\n\r\nfour\r\n"
    files.with_file(path, "labels.txt", data)
    found = tflite_metadata.read(path)
    assert found is not None
    assert found.labels == tuple(label or "" for label, _ in classified(path, picture))


def test_what_mediapipe_refuses_is_said(tmp_path: Path, picture: np.ndarray) -> None:
    fine = tflite_metadata.classifier(LABELS)
    cases = {
        "differ by channel": replace(fine, mean=(1.0, 2.0, 3.0), std=(1.0, 1.0, 1.0)),
        "and the std": replace(fine, mean=(1.0, 1.0, 1.0)),
        "Mean and std are missing": replace(fine, mean=(), std=()),
    }
    for said, metadata in cases.items():
        path, _ = written(tmp_path, metadata)
        assert any(said in sentence for sentence in problems(metadata))
        with pytest.raises(REFUSED):
            classified(path, picture)
    assert problems(fine) == ["Duplicate labels: 'crane'."]


def test_a_missing_file_of_labels_is_mended(tmp_path: Path, picture: np.ndarray) -> None:
    path, _ = written(tmp_path, tflite_metadata.classifier(LABELS))
    repack.save(repack.unpack(path), path)  # drops what follows the model, as converters do
    found = tflite_metadata.read(path)
    assert found is not None and found.labels == ()
    assert "'labels.txt', which the file does not contain" in problems(found)[0]
    with pytest.raises(REFUSED):
        classified(path, picture)
    tflite_metadata.write(path, path, tflite_metadata.edited(found, {"labels": list("abcd")}))
    assert [label for label, _ in classified(path, picture)] == list("abcd")
