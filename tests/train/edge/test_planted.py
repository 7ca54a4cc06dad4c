"""Errors planted into finished files: each is caught every time, in every precision, and no file leaves."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lib.convert.service.converter import Converter
from lib.errors import JobFailed
from lib.jobs import Job
from lib.settings import Settings
from lib.train.data import DataSet
from lib.train.edge import export_store
from lib.train.edge.checking import Checker
from lib.train.edge.export import Exporter
from lib.train.edge.local import LocalHost
from lib.train.edge.targets import find
from lib.train.runs import Run
from tests.train.conftest import shapes
from tests.train.edge.plants import PLANTS

pytestmark = pytest.mark.timeout(1200)
Reports = dict[str, dict[str, Any]]
TFLITE = ("tflite", "tflite-fp16", "tflite-int8")


@pytest.fixture(scope="module")
def checker(run: Run, pictures: DataSet) -> Checker:
    return Checker(run, pictures)


@pytest.mark.parametrize("target", TFLITE)
@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_error_is_caught(checker: Checker, reports: Reports, tmp_path: Path, target: str, plant: str) -> None:
    source, planted = Path(reports[target]["file"]), tmp_path / "model.tflite"
    PLANTS[plant](source, planted)
    row = checker.row(planted, find(target))
    assert row.verdict == "withheld" and row.why, row
    assert row.mediapipe is True, row.why  # MediaPipe takes the file: what it computes is what is wrong
    shutil.copyfile(source, planted)
    assert checker.row(planted, find(target)).verdict == "proven"


def _initializer(model: onnx.ModelProto, change: Callable[[np.ndarray], np.ndarray | None]) -> None:
    """Changes the first one that ``change`` gives something for."""
    for tensor in model.graph.initializer:
        made = change(numpy_helper.to_array(tensor))
        if made is not None:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(made), tensor.name))
            return
    raise AssertionError("nothing to change")


ONNX: dict[str, Callable[[np.ndarray], np.ndarray | None]] = {
    "channels swapped": lambda x: x[:, ::-1] if x.ndim == 4 and x.shape[1] == 3 else None,
    "a scale wrong": lambda x: x * 2 if x.ndim == 4 and x.shape[1] == 3 else None,
    "normalization left out": lambda x: x * 0 if x.shape == (1, 3, 1, 1) else None,
    "labels shuffled": lambda x: np.roll(x, 1, 0) if x.ndim == 2 and x.shape[0] == 3 else None,
}


@pytest.mark.parametrize("planted", ONNX)
def test_in_an_onnx_too(checker: Checker, reports: Reports, tmp_path: Path, planted: str) -> None:
    model = onnx.load(reports["onnx"]["file"])
    _initializer(model, ONNX[planted])
    onnx.save(model, tmp_path / "model.onnx")
    row = checker.row(tmp_path / "model.onnx", find("onnx"))
    assert row.verdict == "withheld" and row.why


class Tampering(LocalHost):
    """Its jobs check another file than the converter's: one that a broken tool could have made."""

    def __init__(
        self, settings: Settings, homes: dict[str, Path], plant: Callable[[Path, Path], None], folder: Path
    ) -> None:
        super().__init__(settings, homes)
        self._plant, self._folder, self.planted = plant, folder, 0

    def job(self, task: str, arguments: dict[str, Any]) -> Job:
        if task.endswith(":check"):
            self.planted += 1
            made = self._folder / f"planted-{self.planted}.tflite"
            self._plant(Path(arguments["source"]), made)
            arguments = arguments | {"source": str(made)}
        return super().job(task, arguments)


def _bare(plant: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
    """The converter's file has no metadata yet: ``plant`` gets one that has."""
    from lib.tflite import metadata

    def go(source: Path, target: Path) -> None:
        noted = target.with_suffix(".noted")
        metadata.write(source, noted, metadata.classifier(["a", "b", "c"]))
        plant(noted, target)

    return go


@pytest.mark.parametrize(
    ("target", "plant", "attempts"),
    [("tflite", "normalization_left_out", 2), ("tflite-int8", "channels_swapped", 3), ("tflite-fp16", "scale_wrong", 1)],
)
def test_nothing_leaves(
    run: Run,
    reports: Reports,
    settings_here: Settings,
    homes: dict[str, Path],
    converter: Converter,
    tmp_path: Path,
    target: str,
    plant: str,
    attempts: int,
) -> None:
    copy = Run(shutil.copytree(run.folder, tmp_path / run.id))
    kinds = copy.read()["exports"]
    copy.update(exports={name: row for name, row in kinds.items() if name != target})
    local = Tampering(settings_here, homes, _bare(PLANTS[plant]), tmp_path)
    try:
        found = Exporter(local, converter).export(copy, target).result()
    finally:
        local.close()
    assert found["file"] is None and local.planted == attempts
    row = found["report"]
    assert row["verdict"] == "withheld" and row["why"] and row["file"] is None and row["attempts"] == attempts
    assert not (copy.folder / export_store.FOLDER / find(target).file).exists() and export_store.path(copy, target) is None
    assert [p.name for p in copy.folder.rglob("*") if p.name.startswith("unfinished")] == []
    assert copy.read()["exports"][target]["verdict"] == "withheld"
    if target == "tflite-int8":  # more layers stayed float each time
        assert row["float_layers"] >= 0.3 * row["layers"] - 1


def test_what_is_made_of_a_withheld_file_is_withheld(
    run: Run, reports: Reports, settings_here: Settings, homes: dict[str, Path], converter: Converter, tmp_path: Path
) -> None:
    copy = Run(shutil.copytree(run.folder, tmp_path / run.id))
    copy.update(exports={"onnx": copy.read()["exports"]["onnx"]})
    local = Tampering(settings_here, homes, _bare(PLANTS["channels_swapped"]), tmp_path)
    try:
        found = Exporter(local, converter).export(copy, "tflite-fp16").result()
    finally:
        local.close()
    assert found["file"] is None and local.planted == 2  # float32 from the prepared ONNX, then from the exported one
    assert "TensorFlow Lite, float32, which is withheld" in found["report"]["why"]
    assert [
        name for name in ("tflite", "tflite-fp16") if (copy.folder / export_store.FOLDER / find(name).file).exists()
    ] == []


def test_another_data_set_judges_nothing(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "other"
    with pytest.raises(JobFailed, match="changed since this run"):
        Checker(run, DataSet.scan(shapes(home, 8, seed=1), home))


def test_without_its_libraries_mediapipe_is_named(
    run: Run,
    reports: Reports,
    settings_here: Settings,
    homes: dict[str, Path],
    converter: Converter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A libEGL that is none stands in front of the machine's own."""
    (tmp_path / "lib").mkdir()
    for name in ("libEGL.so.1", "libGLESv2.so.2"):
        (tmp_path / "lib" / name).write_bytes(b"")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "lib"))
    copy = Run(shutil.copytree(run.folder, tmp_path / run.id))
    copy.update(exports={k: v for k, v in copy.read()["exports"].items() if k != "tflite-fp16"})
    local = LocalHost(settings_here, homes)
    try:
        found = Exporter(local, converter).export(copy, "tflite-fp16").result()
    finally:
        local.close()
    assert found["file"] is None and found["report"]["mediapipe"] is False
    assert "libegl1 and libgles2" in found["report"]["why"] and str(tmp_path) not in found["report"]["why"]
