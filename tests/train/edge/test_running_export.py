"""Exports that go on when nobody follows them: found again by the run's id, stopped by anybody, ended with the app."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.errors import Cancelled, InvalidValue, JobFailed
from lib.train.edge import export_store, running_export
from lib.train.edge.export import Exporter
from lib.train.edge.running_export import Exports
from lib.train.runs import Run

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def copy(run: Run, homes: dict[str, Path], tmp_path: Path) -> Run:
    """The run without its files, in a folder of its own."""
    return Run(shutil.copytree(run.folder, tmp_path / run.id, ignore=shutil.ignore_patterns("exports")))


@pytest.fixture
def exports(exporter: Exporter) -> Exports:
    return Exports(exporter)


def until(said: Callable[[], bool]) -> None:
    while not said():
        time.sleep(0.02)


@pytest.mark.slow
def test_an_export_goes_on_without_anybody_who_follows(copy: Run, exports: Exports) -> None:
    one = exports.start(copy, ["onnx"])
    assert exports.of(copy.id) is one and not one.done.is_set()
    assert exports.start(copy, ["onnx"]) is one  # a page that comes meanwhile
    until(lambda: one.progress.stage == "ONNX: Exporting to ONNX")
    assert one.done.wait(200) and one.error is None
    assert export_store.rows(copy)["onnx"].verdict == "proven"
    again = exports.start(copy, ["onnx"])
    assert again is not one and again.done.wait(5) and again.progress.stage == "Starting"  # nothing was left to make


@pytest.mark.slow
def test_a_target_that_comes_later_is_taken_on(copy: Run, exports: Exports) -> None:
    one = exports.start(copy, ["tflite"])
    until(lambda: one.progress.stage.startswith("1 of 2 files, made first for the others. ONNX: "))
    assert exports.start(copy, ["onnx", "tflite-int8"]) is one
    until(lambda: one.progress.stage.startswith("1 of 2 files") is False or one.done.is_set())
    assert one.progress.stage.startswith("2 of 3 files. TensorFlow Lite, float32: ")
    exports.stop(copy.id, wait=60)
    assert one.done.is_set() and isinstance(one.error, Cancelled)
    assert list(export_store.rows(copy)) == ["onnx"]  # what was made stays
    with pytest.raises(InvalidValue, match="coreml"):
        exports.start(copy, ["coreml"])


def test_what_nobody_looks_at_ends_and_so_does_all_with_the_app(
    copy: Run, exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = exports.start(copy, ["onnx"])
    exports.sweep()
    assert exports.of(copy.id) is one and not one.done.is_set()
    monkeypatch.setattr(running_export, "ABANDONED", 0.2)
    time.sleep(0.3)
    exports.touch(copy.folder.parent)
    exports.sweep()
    assert not one.done.is_set()
    time.sleep(0.3)
    exports.touch(copy.folder)  # another visitor's
    exports.sweep()
    assert one.done.wait(60) and isinstance(one.error, Cancelled)
    exports.sweep()
    assert exports.of(copy.id) is None
    two = exports.start(copy, ["onnx"])
    exports.close()
    assert two.done.is_set() and isinstance(two.error, Cancelled)
    with pytest.raises(Cancelled):
        exports.start(copy, ["onnx"])


def test_what_cannot_be_made_is_kept_for_whoever_comes(copy: Run, exports: Exports) -> None:
    with copy.lock():
        one = exports.start(copy, ["onnx"])
        assert one.done.wait(60)
    assert isinstance(one.error, JobFailed) and "Export it when it has ended" in one.error.message
    assert exports.of(copy.id) is one
