"""What the training tab shows of exports, runtimes and a served run: from rows and reports as the library makes them."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lib.train import network_cache
from lib.train.classification import Classification, Unreadable
from lib.train.edge.export_row import ExportRow
from lib.train.edge.targets import TARGETS
from lib.train.evaluation import PartResult, RunResult
from lib.train.monitoring.drift_state import DriftState, DriftTest
from lib.train.monitoring.monitor import build_report
from lib.train.monitoring.prediction_log import Prediction, Totals
from lib.train.monitoring.report import MonitorReport
from lib.train.run_metrics import RunMetrics
from lib.train.run_record import RunRecord
from tests.onnxruntime_web import package
from web.shell import load_tab

ROOT = Path(__file__).parents[2]
BAD = "<img src=x onerror=alert(1)>"
SCORES = {"cat": 0.9, "dog": 0.1}
ROW = Classification(label="cat", score=0.9, scores=SCORES, milliseconds=12.3)
RESULT = RunResult.of({"validation": PartResult.of(57, 60)}, epoch=1)


@pytest.fixture(scope="module")
def views() -> Any:
    load_tab(ROOT / "spaces" / "train")
    return lambda name: importlib.import_module(f"tab_train.{name}")


class Words(HTMLParser):
    """The text of a page, and every tag; a tag that is not closed fails."""

    VOID = ("img", "br", "path", "circle", "input")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags, self.open = "", [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: Any) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def proven(target: str, file: str, **more: Any) -> ExportRow:
    figures: dict[str, Any] = {"megabytes": 6.94, "accuracy": 0.95, "interval": [0.863, 0.983], "count": 60}
    figures |= {"same_label": 59 / 60, "milliseconds": 2.31, "threads": 2, "runtime": "mediapipe", "mediapipe": True}
    return ExportRow(target=target, verdict="proven", file=file, **(figures | more))


def test_a_row_a_file_with_its_figures_and_the_withheld_one_with_its_reason(views: Any) -> None:
    why = f"MediaPipe gives another label on 9 of 60 pictures {BAD}"
    rows = [
        proven("onnx", "model.onnx", runtime="onnxruntime", mediapipe=None, milliseconds=23.4),
        proven("tflite-fp16", "model-fp16.tflite"),
        proven("tflite-int8", "model-int8.tflite", float_layers=12, layers=150),
        ExportRow(target="tflite", verdict="withheld", why=why, accuracy=0.8, interval=[0.68, 0.88], count=60),
    ]
    page = Words(views("view_export").table(rows, RESULT, "./train/files/RUN/"))
    links = [a["href"] for a in page.all("a")]
    assert links == [f"./train/files/RUN/{name}" for name in ("model.onnx", "model-fp16.tflite", "model-int8.tflite")]
    for words in ("60 validation pictures", "95.0%", "86.3–98.3%", "98.3%", "2.3", "2 threads, MediaPipe", "6.9", why):
        assert words in page.text, words
    assert "12 of 150 layers stay float32" in page.text and page.text.count("withheld") >= 2
    assert page.all("img") == []
    named = [a["data-name"] for a in page.all("td")]  # a phone shows these instead of the head
    assert named == list(views("view_export").HEAD) * (1 + len(rows))
    assert page.all("tr")[1:] and len(page.all("tr")) == 1 + 1 + len(rows)  # the head, the trained network, the files


def test_every_target_can_be_chosen_and_only_what_is_there_is_handed_on(views: Any) -> None:
    view = views("view_export")
    assert tuple(view.TITLES) == TARGETS and len(set(view.TITLES.values())) == len(TARGETS)
    rows = [proven("tflite", "model.tflite"), ExportRow(target="tflite-int8", verdict="withheld", why="x")]
    assert view.choices(rows) == [("TFLite float32", "model.tflite")]
    assert view.table([], None, "./") == ""


def test_runtimes_side_by_side_mark_what_differs(views: Any) -> None:
    view = views("view_try")
    others: dict[str, Any] = {
        "onnxruntime": replace(ROW, scores={"cat": 0.8996, "dog": 0.1004}, milliseconds=4.56),
        "litert": replace(ROW, label="dog", scores={"cat": 0.4, "dog": 0.6}, score=0.6),
        "mediapipe": view.Needs("tflite"),
    }
    page = Words(view.answer(ROW, f"mine {BAD}", "data:image/jpeg;base64,xx", others))
    assert "± 0.000" in page.text and "different label" in page.text
    assert [a.get("data-pick") for a in page.all("button")] == ["make:tflite"]
    assert len(page.all("img")) == 1 and f"mine {BAD}" in page.text
    (tried,) = [a for a in page.all("div") if "data-tried" in a]
    assert json.loads(tried["data-tried"]) == SCORES
    far = replace(ROW, scores={"cat": 0.8, "dog": 0.2})
    assert 'class="mw-wrong"' in view.side_by_side(ROW, {"litert": far})
    assert 'class="mw-wrong"' not in view.side_by_side(ROW, {"litert": others["onnxruntime"]})
    assert "running …" in Words(view.side_by_side(ROW, {"litert": None})).text
    failed = {"mediapipe": Unreadable(error=f"libEGL {BAD}")}
    assert f"libEGL {BAD}" in Words(view.side_by_side(ROW, failed)).text
    assert set(view.RUNTIMES) == set(network_cache.RUNTIMES)
    assert {targets[0] for targets in network_cache.TARGETS.values()} == set(view.FILES)


def test_what_is_no_picture_is_said(views: Any) -> None:
    page = Words(views("view_try").answer(Unreadable(error=f"no picture {BAD}"), "mine", "x", {"litert": None}))
    assert f"no picture {BAD}" in page.text and page.all("img") == [] and page.all("table") == []


def served(right: int, told: int, drift: DriftState, why: str = "") -> MonitorReport:
    """The answer of /monitor for ``told`` pictures whose truth is known, ``right`` of them right."""
    answers = [
        Prediction(f"{k:048x}", 1e9 + k, 0, 0.5 + 0.4 * (k % 2), 10.0 + k % 7, "pytorch", 0 if k % told < right else 1)
        for k in range(told)
    ]
    totals = Totals(pictures=told, truths=told, right=right, since=1_000_000_000)
    record = RunRecord(id="run", name="mine", classes=("cat", "dog"), result=RESULT)
    return build_report(record, answers, totals, drift, why)


def drift(p: float, windows: int, seen: int) -> DriftState:
    test = DriftTest(at=1e9, n=200, inputs=p, model=0.4)
    return DriftState(now=test, windows=(test,) * windows, seen=seen)


def test_a_watched_run_shows_its_figures_and_says_that_confidence_is_no_accuracy(views: Any) -> None:
    found = served(96, 100, drift(0.3, 1, 200))
    page = Words(views("view_watch").panel(found))
    for words in ("Requests", "100", "96.0%", "95% interval", "on 60 validation pictures it was 95.0%", "Inputs: no drift"):
        assert words in page.text, words
    assert "This is not accuracy" in page.text and "Model: no drift" in page.text
    assert "p = 0.3; 200 pictures compared" in page.text
    assert page.text.count("If this light goes on:") == 2  # neither is on
    assert "measured 84.0% of the last 25 on validation pictures 95.0%" in " ".join(page.text.split())
    assert "mean 90.0% of the last one" in " ".join(page.text.split())
    figures = [a["aria-label"] for a in page.all("svg")]
    assert [words.partition(":")[0] for words in figures] == [
        "Confidence", "Accuracy", "Confidence over time", "Latency over time"
    ]  # fmt: skip
    assert [a.get("data-pick") for a in page.all("button")] == []
    assert [a["class"] for a in page.all("i") if "class" in a][:2] == ["ok", "ok"]


def test_drift_that_stays_proposes_a_training(views: Any) -> None:
    found = served(60, 100, drift(0.004, 4, 800))
    page = Words(views("view_watch").panel(found))
    assert "Inputs: drift detected" in page.text and found.proposal and found.proposal.text in page.text
    assert page.text.count("If this light goes on:") == 1 and "The pictures look different" in page.text
    assert [a.get("data-pick") for a in page.all("button")] == ["train"]
    assert [a["class"] for a in page.all("i") if "class" in a][:2] == ["bad", "ok"]


def test_one_picture_and_curves_say_of_what_their_figure_is(views: Any) -> None:
    page = " ".join(Words(views("view_watch").panel(served(1, 1, DriftState()))).text.split())
    assert "correct on the last picture with a known label" in page and "last 1 pictures" not in page
    epoch: dict[str, Any] = {"epoch": 1, "step": 1, "validation_loss": 0.25, "validation_accuracy": 0.75}
    epoch |= {"train_loss": 0.5, "seconds": 1.0, "pictures_per_second": 9.0, "best": True}
    step = {"step": 1, "steps": 2, "epoch": 1, "loss": 0.5, "learning_rate": 0.1, "pictures_per_second": 9.0}
    metrics = RunMetrics.parse([step, epoch])
    drawn = " ".join(Words(views("curves").of_run(metrics)).text.split())
    assert "training 0.5 last step" in drawn and "validation 75.0% last epoch" in drawn


def test_before_there_is_a_reference_both_lights_say_why(views: Any) -> None:
    page = Words(views("view_watch").panel(served(1, 2, DriftState(), f"not yet {BAD}")))
    assert page.text.count("not known yet") == 2 and page.text.count(f"not yet {BAD}") == 2 and page.all("img") == []
    assert "No requests yet" in views("view_watch").panel(build_report(RunRecord(id="r"), [], Totals(), DriftState()))
    how = Words(views("view_watch").how("20260101-000000-x-0123456789abcdef", "https://host", "What is kept.", True))
    assert "https://host/classify?run=20260101-000000-x-0123456789abcdef" in how.text and "What is kept." in how.text
    assert "open" in how.all("details")[0]


def test_the_browser_card_names_the_host_and_pins_every_file(views: Any) -> None:
    view = views("in_browser")
    page = Words(view.card("run", ["cat", BAD], "./train/files/run/model.onnx"))
    (card,) = [a for a in page.all("div") if "data-network" in a]
    assert json.loads(card["data-network"]) == {"address": "./train/files/run/model.onnx", "classes": ["cat", BAD]}
    runtime = json.loads(card["data-runtime"])
    assert runtime["base"].startswith("https://") and re.search(r"@\d+\.\d+\.\d+/", runtime["base"])
    assert len(runtime["files"]) == 2 and view.HOST in page.text and view.VERSION in page.text
    for one in runtime["files"]:
        assert len(base64.b64decode(one["integrity"].removeprefix("sha384-"), validate=True)) == 48
    assert [a["data-do"] for a in page.all("button") if "hidden" not in a] == ["load"]
    needs = Words(view.card("run", ["cat"], ""))
    assert [a.get("data-pick") for a in needs.all("button")] == ["make:onnx"]
    worker, _, _ = view.script().partition("\n")
    assert "onmessage" in json.loads(worker.removeprefix("const WORKER = ").removesuffix(";"))


def test_the_checksums_are_those_of_the_npm_package(views: Any, tmp_path: Path) -> None:
    files = package(views("in_browser").VERSION, tmp_path)
    total = 0
    for name, integrity in views("in_browser").FILES.items():
        content = (files / name).read_bytes()
        total += len(content)
        assert integrity == f"sha384-{base64.b64encode(hashlib.sha384(content).digest()).decode()}", name
    assert abs(total / 1e6 - views("in_browser").MEGABYTES) < 0.06
