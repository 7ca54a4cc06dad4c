"""The Export panel: what a page shows of an export that goes on without it, and what its rows say."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from lib.convert.service.converter import Converter
from lib.settings import Settings
from lib.train.edge.export import Exporter
from lib.train.edge.export_row import ExportRow
from lib.train.edge.running_export import Exports
from lib.train.recipe import Recipe
from lib.train.runs import Run, Runs
from lib.train.trainer import Trainer
from lib.train.training import BEST
from tests.spaces.test_train_views import ROW, Words, proven
from web.shell import load_tab
from web.visit import Visit, visitor
from web.visits import Visits

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def views() -> Any:
    load_tab(ROOT / "spaces" / "train")
    return lambda name: importlib.import_module(f"tab_train.{name}")


@pytest.fixture
def exporter(settings: Settings, tmp_path: Path) -> Iterator[Exporter]:
    """Its jobs are never started here."""
    settings = replace(settings, data_folder=tmp_path)
    trainer, converter = Trainer(settings), Converter(settings)
    yield Exporter(trainer, converter)
    converter.close()
    trainer.close()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """One that has ended, with weights of a kind."""
    found = Runs(tmp_path / "runs").new("objects", {"recipe": Recipe().as_dict(), "data": {}})
    (found.folder / BEST).write_bytes(b"weights")
    found.update(status="done")
    return found


def two_pages(views: Any, exporter: Exporter, exports: Exports) -> list[Any]:
    with gr.Blocks():
        shared = views("page_shared").Shared(exporter._trainer, Visit("train", Visits(1), visitor()))
        return [views("page_export").Export(shared, exports) for _ in range(2)]


def until_it_waits(one: Any) -> None:
    while "Waiting" not in one.progress.stage:
        time.sleep(0.02)


def test_a_page_that_comes_finds_the_export_and_its_stop(views: Any, exporter: Exporter, run: Run) -> None:
    exports = Exports(exporter)
    first, second = two_pages(views, exporter, exports)
    before = second.sign_progress(run)
    assert first.show_progress(run)[first.make]["interactive"] and not first.busy(run)
    exporter._busy.add(run.id)  # as an export that was asked for by the API
    until_it_waits(exports.start(run, ["onnx", "tflite"]))
    assert second.sign_progress(run) != before and second.busy(run)
    shown = second.show_progress(run)
    assert not shown[second.make]["interactive"] and shown[second.stop]["interactive"]
    page = Words(shown[second.said])
    assert "1 of 2 files. Waiting for another export of this run" in page.text
    assert [a["role"] for a in page.all("div") if "role" in a] == ["progressbar"]
    waiting = second.sign_progress(run)
    exports.stop(run.id, wait=30)
    assert not first.busy(run) and first.was_busy(run, waiting) and not first.was_busy(run, first.sign_progress(run))
    for part in (first, second):
        shown = part.show_progress(run)
        assert shown[part.make]["interactive"] and not shown[part.stop]["interactive"]
        assert "Stopped." in Words(shown[part.said]).text
    exporter._busy.clear()


def test_without_a_run_nothing_can_be_made(views: Any, exporter: Exporter) -> None:
    part, _ = two_pages(views, exporter, Exports(exporter))
    shown = part.show_progress(None)
    assert not shown[part.make]["interactive"] and not shown[part.stop]["interactive"] and shown[part.said] == ""


def test_a_row_says_what_was_noisy_and_how_far_apart(views: Any) -> None:
    view, saved = views("view_export"), views("files").saved
    row = proven("tflite-int8", "model-int8.tflite", difference=0.0731, noisy=True)
    assert ExportRow.read(row.as_dict()) == row and ExportRow.read(row.as_dict() | {"noisy": 1}) is None
    id = "20260101-000000-objects-0123456789abcdef"
    page = Words(view.table([row], None, "./", "PyTorch", lambda name: saved(id, name)))
    assert "at most 0.073 apart" in page.text and "on a busy machine" in page.text
    (link,) = page.all("a")
    assert link["href"] == "./model-int8.tflite" and link["aria-label"] == "Download TFLite int8: objects-int8.tflite"
    assert "objects-int8.tflite" in page.text and "model-int8" not in page.text  # as it is saved
    quiet = Words(view.table([replace(row, noisy=False)], None, "./"))
    assert "busy" not in quiet.text


def test_a_runtime_says_which_file_it_ran(views: Any) -> None:
    rows = {"litert": replace(ROW, file="model-int8.tflite")}
    assert "model-int8.tflite" in Words(views("view_try").side_by_side(ROW, rows)).text
