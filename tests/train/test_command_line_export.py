"""``python -m lib.train FOLDER --export model.tflite``: a file that was checked, or a line that says why there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lib.tflite import metadata
from lib.train.__main__ import main
from lib.train.runs import Run
from tests.train.conftest import shapes

pytestmark = pytest.mark.timeout(1200)
RECIPE = ["--epochs", "6", "--image-size", "48", "--technique", "feature_extraction", "--validation", "0.3"]


def said(capsys: pytest.CaptureFixture, *words: str) -> tuple[int, list[str], str]:
    """Status, lines of stdout, stderr."""
    capsys.readouterr()
    status = main(list(words))
    out, err = capsys.readouterr()
    return status, out.strip().splitlines(), err


@pytest.mark.slow
def test_a_training_ends_with_a_file_and_an_earlier_run_gives_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("DATA_FOLDER", os.environ.get("DATA_FOLDER") or str(request.config.cache.mkdir("workbench")))
    monkeypatch.chdir(tmp_path)
    folder, runs = shapes(tmp_path, 20), ["--runs", "runs"]  # below the folder that is current: jobs have another
    status, lines, err = said(capsys, str(folder), *RECIPE, *runs, "--export", "model.tflite")
    assert status == 0, err
    run = Run(Path(lines[-1]))
    assert lines[-2].startswith("model.tflite: TensorFlow Lite, float32, ") and lines[-2].endswith("; runs in MediaPipe")
    assert "of 18 validation pictures" in lines[-2] and "Comparing with the trained network" in err
    found = metadata.read(tmp_path / "model.tflite")
    assert found is not None and list(found.labels) == ["cross", "disc", "stripes"] and run.id in found.description

    status, lines, err = said(capsys, *runs, "--run", run.id, "--export", "model.onnx")
    assert status == 0 and lines[0].startswith("model.onnx: ONNX, ") and lines[1] == str(run.folder)
    assert (tmp_path / "model.onnx").stat().st_size > 1e6 and "Epoch" not in "".join(lines) and not err

    (folder / "disc" / "new.png").write_bytes((folder / "cross" / "00.png").read_bytes())
    status, lines, err = said(capsys, *runs, "--run", run.id, "--export", "new.tflite", "--target", "tflite-fp16")
    assert status == 2 and "The data set has changed since this run" in err and not (tmp_path / "new.tflite").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["objects", "--export", "model.h5"], "'model.h5'; allowed: a name that ends in .tflite or .onnx"),
        (["objects", "--export", "nowhere/model.tflite"], "There is no folder 'nowhere'"),
        (["objects", "--export", "m.tflite", "--target", "onnx"], "allowed: tflite, tflite-fp16, tflite-int8 for a file"),
        (["objects", "--export", "m.tflite", "--target", "tpu"], "target was 'tpu'; allowed: onnx, tflite"),
        (["objects", "--target", "tflite-int8"], "Also name the file to write"),
        (["--run", "x"], "Also name the file to write"),
        (["--run", "x", "--export", "model.tflite"], "run was 'x'"),
    ],
)
def test_a_wrong_call_is_one_line_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, words: list[str], message: str
) -> None:
    monkeypatch.setenv("DATA_FOLDER", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    status, lines, err = said(capsys, *words)
    assert status == 2 and message in err and len(err.splitlines()) == 1 and not lines
    assert not list(tmp_path.iterdir())
