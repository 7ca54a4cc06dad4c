"""A run becomes files: each is run by its runtime, holds its labels, has its row, and is answered from the run's folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from lib.errors import Cancelled, InvalidValue, JobFailed, NotFound, QueueFull
from lib.jobs import Progress, Result
from lib.tflite import metadata
from lib.train import pictures as reading
from lib.train.data import DataSet
from lib.train.edge import export_store
from lib.train.edge.export import Exporter
from lib.train.edge.export_row import ExportRow
from lib.train.edge.runtimes import RUNTIMES, open_runtime
from lib.train.edge.targets import TARGETS, find
from lib.train.provenance import sha256
from lib.train.recipe import Recipe
from lib.train.runs import Run, Runs
from lib.train.training import BEST

pytestmark = pytest.mark.timeout(1200)
CLASSES = ["cross", "disc", "stripes"]
Reports = dict[str, dict[str, Any]]


@pytest.mark.slow
def test_an_onnx_file_leaves_with_its_row(run: Run, exporter: Exporter) -> None:
    found = exporter.export(run, "onnx").result()
    row = found["report"]
    assert row["verdict"] == "proven" and row["same_label"] == 1.0 and row["count"] == 36, row["why"]
    assert onnx.load(found["file"]).graph.input[0].name == "pixels"


def test_a_run_that_is_deleted_meanwhile(
    run: Run, exporter: Exporter, tmp_path: Path, homes: dict[str, Path], pictures: DataSet
) -> None:
    copy = Run(shutil.copytree(run.folder, tmp_path / "deleted" / run.id))
    shutil.rmtree(copy.folder / export_store.FOLDER, ignore_errors=True)
    events = exporter.export(copy, "onnx").events()
    next(events)
    shutil.rmtree(copy.folder.parent)
    with pytest.raises(NotFound, match="deleted during the export"):
        list(events)
    assert not copy.folder.exists()


def test_only_so_many_wait(run: Run, exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.train.edge.export.MAX_WAITING", 0)
    with pytest.raises(QueueFull):
        exporter.export(run, "onnx").result()


@pytest.mark.parametrize("target", TARGETS)
def test_each_file_has_its_row(run: Run, reports: Reports, pictures: DataSet, target: str) -> None:
    report, path = reports[target]["report"], Path(reports[target]["file"])
    row = ExportRow.read({k: v for k, v in report.items() if k not in ("run", "rows")})
    assert row is not None and row.verdict == "proven", report
    assert path.parent == run.folder / export_store.FOLDER and path.name == find(target).file == row.file
    assert row.sha256 == sha256(path) and row.megabytes == pytest.approx(path.stat().st_size / 1e6, abs=0.01)
    assert row.count == len(pictures.split(0.3, 0).val) == 36 and row.on == "validation"
    result = run.read()["result"]["parts"]["validation"]
    assert row.interval is not None and row.interval[0] <= row.accuracy <= row.interval[1]
    if target == "tflite-int8":
        assert result["interval"][0] <= row.accuracy <= result["interval"][1] and row.layers > 40
    else:
        assert row.accuracy == result["accuracy"] and row.same_label == 1
    assert row.milliseconds > 0 and row.threads >= 1 and row.mediapipe is (None if target == "onnx" else True)
    assert {"check", "metadata", "own network"} <= row.seconds.keys()
    assert run.read()["exports"][target] == row.as_dict()


def test_smaller_files_are_smaller(reports: Reports) -> None:
    size = {target: reports[target]["report"]["megabytes"] for target in TARGETS}
    assert 0.45 < size["tflite-fp16"] / size["tflite"] < 0.6 and size["tflite-int8"] / size["tflite"] < 0.35


@pytest.mark.parametrize("target", [t for t in TARGETS if t != "onnx"])
def test_mediapipe_classifies_as_its_guide_shows(run: Run, reports: Reports, pictures: DataSet, target: str) -> None:
    import mediapipe as mp
    from mediapipe.tasks import python
    from mediapipe.tasks.python import vision

    base_options = python.BaseOptions(model_asset_path=reports[target]["file"])
    options = vision.ImageClassifierOptions(base_options=base_options, max_results=2)
    right = 0
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for index in range(0, 120, 10):
            found = classifier.classify(mp.Image.create_from_file(str(pictures.path(index))))
            top = found.classifications[0].categories[0]
            assert CLASSES[top.index] == top.category_name
            right += top.category_name == CLASSES[pictures.items[index].label]
    assert right >= 10


@pytest.mark.parametrize("target", [t for t in TARGETS if t != "onnx"])
def test_the_metadata_say_what_the_file_is(run: Run, reports: Reports, target: str) -> None:
    found = metadata.read(Path(reports[target]["file"]))
    assert found is not None and list(found.labels) == CLASSES
    assert found.mean == (0.0,) and found.std == (1.0,)
    assert found.name == "shapes" and found.license == "" and found.author and run.id in found.description


def test_the_onnx_says_it_too(run: Run, reports: Reports) -> None:
    model = onnx.load(reports["onnx"]["file"])
    notes = {p.key: p.value for p in model.metadata_props}
    assert json.loads(notes["labels"]) == CLASSES and notes["normalization"] == "inside" and notes["run"] == run.id
    assert {"name", "author", "license", "description"} <= notes.keys()
    (taken,), (given,) = model.graph.input, model.graph.output
    dims = [d.dim_param or d.dim_value for d in taken.type.tensor_type.shape.dim]
    assert taken.name == "pixels" and dims == ["batch", 48, 48, 3] and taken.type.tensor_type.elem_type == 1
    assert given.name == "probabilities"


def test_runtimes_side_by_side(run: Run, reports: Reports, pictures: DataSet) -> None:
    """The same pictures, by path and by pixels, on every runtime."""
    paths = [pictures.path(k) for k in range(0, 120, 7)]
    files = {"pytorch": None, "onnxruntime": reports["onnx"]["file"], "litert": reports["tflite"]["file"]}
    files["mediapipe"] = reports["tflite"]["file"]
    found = {}
    for name in RUNTIMES:
        with open_runtime(name, run, Path(files[name]) if files[name] else None) as runtime:
            found[name], milliseconds = runtime.probabilities(paths)
            again, _ = runtime.probabilities([reading.load(path) for path in paths])
            assert milliseconds > 0 and runtime.classes == tuple(CLASSES) and runtime.size == 48
            assert np.array_equal(found[name], again) and runtime.probabilities([])[0].shape == (0, 3)
    for name in RUNTIMES:
        assert np.abs(found[name] - found["pytorch"]).max() < 1e-3, name
    with (
        pytest.raises(InvalidValue, match="allowed: pytorch, onnxruntime, litert, mediapipe"),
        open_runtime("tensorrt", run),
    ):
        pass
    with pytest.raises(JobFailed, match="Export it first"), open_runtime("litert", run):
        pass


def test_asked_again_it_is_answered_from_the_folder(run: Run, reports: Reports, exporter: Exporter) -> None:
    events = list(exporter.export(run, "tflite").events())
    assert len(events) == 1 and isinstance(events[0], Result)  # no job was started
    assert events[0].value["file"] == reports["tflite"]["file"]
    assert events[0].value["report"]["sha256"] == reports["tflite"]["report"]["sha256"]
    assert list(events[0].value["report"]["rows"]) == list(TARGETS)
    assert [p.name for p in sorted((run.folder / export_store.FOLDER).iterdir())] == sorted(find(t).file for t in TARGETS)


def test_a_file_that_was_changed_is_not_handed_out(run: Run, reports: Reports, exporter: Exporter, tmp_path: Path) -> None:
    home = shutil.copytree(run.folder, tmp_path / run.id)
    copy = Run(home)
    assert exporter.file(copy, "tflite") == home / "exports" / "model.tflite"
    with (home / "exports" / "model.tflite").open("ab") as file:
        file.write(b"x")
    assert exporter.file(copy, "tflite") is None and "tflite" not in exporter.rows(copy) and "onnx" in exporter.rows(copy)
    (home / "exports" / "model.onnx").unlink()
    (home / "exports" / "model.onnx").symlink_to(run.folder / "exports" / "model.onnx")
    assert exporter.file(copy, "onnx") is None
    (home / BEST).write_bytes(b"other weights")
    assert exporter.rows(copy) == {}


@pytest.mark.parametrize("exports", [None, 3, [], {"tflite": 3}, {"tflite": {"target": "tflite", "verdict": "fine"}}])
def test_a_record_that_lies_hands_nothing_out(run: Run, reports: Reports, tmp_path: Path, exports: Any) -> None:
    copy = Run(shutil.copytree(run.folder, tmp_path / run.id))
    copy.update(exports=exports)
    assert export_store.rows(copy) == {} and export_store.path(copy, "tflite") is None
    row = run.read()["exports"]["tflite"]
    for change in ({"file": "../run.json"}, {"sha256": ""}, {"accuracy": "1"}, {"more": 1}, {"interval": [0]}, {"why": 5}):
        copy.update(exports={"tflite": row | change})
        assert export_store.rows(copy) == {}, change


def test_what_cannot_be_exported(run: Run, exporter: Exporter, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="target was 'coreml'; allowed: onnx, tflite, tflite-fp16, tflite-int8"):
        exporter.export(run, "coreml")
    empty = Runs(tmp_path).new("x", {"recipe": Recipe().as_dict(), "data": {}})
    with pytest.raises(NotFound, match="no weights"):
        exporter.export(empty, "onnx").result()
    busy = Run(shutil.copytree(run.folder, tmp_path / run.id))
    with busy.lock(), pytest.raises(JobFailed, match="Export it when it has ended"):
        exporter.export(busy, "onnx").result()


def test_a_stop_leaves_nothing(run: Run, exporter: Exporter, tmp_path: Path, homes: dict[str, Path]) -> None:
    copy = Run(shutil.copytree(run.folder, tmp_path / run.id, ignore=shutil.ignore_patterns("exports")))
    work = exporter.export(copy, "tflite")
    with pytest.raises(Cancelled):
        for event in work.events():
            assert isinstance(event, Progress)
            if event.stage == "ONNX, made first: Exporting to ONNX":
                work.cancel()
    assert list((copy.folder / export_store.FOLDER).iterdir()) == [] and export_store.rows(copy) == {}
    with pytest.raises(Cancelled):
        work.result()
