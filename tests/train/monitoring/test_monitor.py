"""What ``/monitor`` concludes: accuracy from truths only, lights from p, and a proposal only with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lib.statistics import wilson
from lib.train.evaluation import PartResult, RunResult
from lib.train.monitoring.drift import FIRST_WINDOW, LEVEL, WINDOW
from lib.train.monitoring.drift_state import DriftState, DriftTest
from lib.train.monitoring.monitor import BLOCK, BLOCKS, RECENT, STAYS, build_report, cut
from lib.train.monitoring.prediction_log import Prediction, Totals
from lib.train.monitoring.window import DRIFT, read_state
from lib.train.run_record import RunRecord
from lib.train.schema import to_json

TOTALS = Totals(pictures=5, unreadable=1, since=1)


def record(correct: int = 98, count: int = 100, **more: PartResult) -> RunRecord:
    parts = {"validation": PartResult.of(correct, count), **more}
    return RunRecord(id="r", name="n", classes=("cat", "dog"), result=RunResult.of(parts, 1))


def monitor(record: RunRecord, predictions: list[Prediction], totals: Totals, drift: DriftState, why: str = "") -> Any:
    """As JSON: these keys are what visitors rely on."""
    return to_json(build_report(record, predictions, totals, drift, why))


def answers(right: int, wrong: int, untold: int = 0) -> list[Prediction]:
    truths = [*[0] * right, *[1] * wrong, *[None] * untold]
    return [Prediction(f"{k:048}", 100.0 + k, 0, 0.9, 10.0 + k % 7, "pytorch", truth) for k, truth in enumerate(truths)]


def lines(*pairs: tuple[float, float], seen: int = 1000) -> DriftState:
    windows = tuple(DriftTest(at=1.0 + k, n=WINDOW, inputs=a, model=b) for k, (a, b) in enumerate(pairs))
    return DriftState(reference="x", seen=seen, now=windows[-1] if windows else None, windows=windows)


def test_without_truths_nobody_knows_the_accuracy() -> None:
    found = monitor(record(), answers(0, 0, untold=50), TOTALS, DriftState())
    assert found["accuracy"]["value"] is None and found["accuracy"]["interval"] is None
    assert found["accuracy"]["fell"] is None and found["proposal"] is None and found["accuracy"]["over_time"] == []
    assert found["confidence"]["mean"] == 0.9 and "not accuracy" in found["confidence"]["says"]


def test_nothing_served_yet() -> None:
    found = monitor(record(), [], Totals(), DriftState(), "why not")
    assert (
        found["requests"] == 0
        and found["latency"].keys() == {"runtimes", "says"}
        and sum(found["confidence"]["histogram"]) == 0
    )
    assert found["drift"]["why"] == "why not" and found["drift"]["inputs"]["flagged"] is None
    json.dumps(found, allow_nan=False)


def test_the_figures() -> None:
    found = monitor(record(), answers(30, 10, untold=20), TOTALS, DriftState())
    assert found["requests"] == 5 and found["unreadable"] == 1 and found["labels"] == {"cat": 60}
    assert found["latency"]["p50"] == 13.0 and found["latency"]["p95"] == 16.0
    assert found["latency"]["runtimes"]["pytorch"]["count"] == 60
    assert sum(found["confidence"]["histogram"]) == 60 and found["confidence"]["histogram"][18] == 60
    accuracy = found["accuracy"]
    assert accuracy["value"] == 0.75 and accuracy["count"] == 40 and accuracy["interval"] == list(wilson(30, 40))
    assert [block["count"] for block in accuracy["over_time"]] == [40]
    assert sum(block["count"] for block in found["over_time"]) == 60 and len(found["over_time"]) <= BLOCKS


@pytest.mark.parametrize(
    ("times", "p50"), [([111.2, 16.2], 63.7), ([7.0], 7.0), ([1.0, 100.0, 2.0], 2.0), ([4.0, 1.0, 2.0, 3.0], 2.5)]
)
def test_the_median_of_few(times: list[float], p50: float) -> None:
    some = [Prediction(f"{k:048}", 100.0 + k, 0, 0.9, each, "pytorch") for k, each in enumerate(times)]
    found = monitor(record(), some, TOTALS, DriftState())
    assert found["latency"]["p50"] == found["latency"]["runtimes"]["pytorch"]["p50"] == p50
    assert [block["milliseconds"] for block in found["over_time"]] == times  # a picture a piece
    many = [Prediction(f"{k:048}", 100.0 + k, 0, 0.9, times[k % len(times)], "pytorch") for k in range(len(times) * BLOCKS)]
    assert {block["milliseconds"] for block in monitor(record(), many, TOTALS, DriftState())["over_time"]} == {p50}


def test_accuracy_is_compared_with_the_test_pictures_where_there_are_some() -> None:
    """The best epoch was chosen on the validation pictures: there it looks better than it is."""
    accuracy = monitor(record(100, 100, test=PartResult.of(240, 300)), answers(80, 20), TOTALS, DriftState())["accuracy"]
    assert accuracy["expected"] == {"part": "test", "count": 300, "accuracy": 0.8, "interval": list(wilson(240, 300))}
    assert accuracy["fell"] is False
    assert monitor(record(100, 100), answers(80, 20), TOTALS, DriftState())["accuracy"]["expected"]["part"] == "validation"
    found = monitor(record(100, 100, test=PartResult.of(0, 0)), answers(0, 1), TOTALS, DriftState())
    assert found["accuracy"]["expected"]["part"] == "validation"
    assert (
        "On the last picture with" in found["proposal"]["text"] and "on 100 validation pictures" in found["proposal"]["text"]
    )


def test_accuracy_is_of_the_last_truths_and_over_time_of_all() -> None:
    some = answers(400, 0) + [Prediction("x" * 48, 900.0 + k, 0, 0.9, 1.0, "pytorch", 1) for k in range(100)]
    accuracy = monitor(record(), some, TOTALS, DriftState())["accuracy"]
    assert accuracy["count"] == RECENT and accuracy["value"] == 0.5
    values = [block["value"] for block in accuracy["over_time"]]
    assert values[0] == 1.0 and values[-1] == 0.0 and all(b["count"] >= BLOCK for b in accuracy["over_time"])


@pytest.mark.parametrize(
    ("right", "wrong", "correct", "count", "fell"),
    [
        (60, 40, 98, 100, True),
        (98, 2, 98, 100, False),
        (94, 6, 98, 100, False),  # 100 pictures do not tell them apart
        (198, 2, 60, 60, False),  # 60 of 60 is not "never wrong": the interval of its accuracy begins at 94 %
        (150, 50, 60, 60, True),
        (2, 2, 98, 100, True),
        (0, 1, 98, 100, True),
        (100, 0, 50, 100, False),
        (9, 1, 0, 0, None),
    ],
)
def test_a_fall_is_said_where_both_intervals_say_so(right: int, wrong: int, correct: int, count: int, fell: Any) -> None:
    found = monitor(record(correct, count), answers(right, wrong), TOTALS, DriftState())
    assert found["accuracy"]["fell"] is fell
    assert (found["proposal"] or {}).get("reason") == ("accuracy" if fell else None)
    if fell:
        assert f"{right / (right + wrong):.1%}" in found["proposal"]["text"]


def test_the_lights() -> None:
    low, high = LEVEL / 2, 0.4
    drift = monitor(record(), answers(1, 0), TOTALS, lines((low, high)))["drift"]
    assert drift["inputs"]["flagged"] is True and drift["model"]["flagged"] is False and drift["inputs"]["n"] == WINDOW
    assert "be harmless" in drift["inputs"]["means"] and "loss of accuracy" in drift["model"]["means"]
    assert (
        drift["inputs"]["says"]
        == f"The pictures look different from the training pictures. {WINDOW} pictures were compared."
    )
    assert drift["model"]["says"] == f"No difference from the training pictures was found. {WINDOW} pictures were compared."
    none = monitor(record(), answers(1, 0), TOTALS, lines(seen=7))["drift"]
    assert none["inputs"]["flagged"] is None and none["inputs"]["n"] == 7 and str(FIRST_WINDOW) in none["why"]
    assert "Nothing has been compared yet" in none["inputs"]["says"] and none["inputs"]["says"] == none["model"]["says"]


@pytest.mark.parametrize(("windows", "proposed"), [(STAYS - 1, False), (STAYS, True), (STAYS + 5, True)])
@pytest.mark.parametrize("kind", [0, 1])
def test_drift_that_stays_proposes_a_training(windows: int, proposed: bool, kind: int) -> None:
    flagged = (LEVEL / 2, 0.5) if kind == 0 else (0.5, LEVEL / 2)
    found = monitor(record(), answers(0, 0, 9), TOTALS, lines(*[flagged] * windows))
    assert (found["proposal"] is not None) == proposed
    if proposed:
        assert found["proposal"]["reason"] == "drift" and "labels" in found["proposal"]["text"]
        assert ("the model's features differ, too" in found["proposal"]["text"]) == (kind == 1)


def test_drift_that_ended_proposes_nothing() -> None:
    windows = [(LEVEL / 2, LEVEL / 2)] * STAYS + [(0.5, 0.5)]
    assert monitor(record(), answers(0, 0, 9), TOTALS, lines(*windows))["proposal"] is None


@pytest.mark.parametrize(
    "drift",
    [
        {"seen": "x", "now": [], "windows": 5},
        {"seen": 10**400, "now": {"at": 1, "n": 2, "inputs": float("nan"), "model": 0}, "windows": [None, 1, "a"]},
        {"now": {"at": 10**400, "n": 2, "inputs": 0, "model": 0}},
        {"windows": {"a": 1}, "now": "<b>"},
    ],
)
@pytest.mark.parametrize(
    "result", [{"parts": 5}, {"parts": {"validation": {"count": "x"}}}, {}, {"parts": {"validation": []}}]
)
def test_files_of_other_shapes_break_nothing(drift: dict[str, Any], result: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / DRIFT).write_text(json.dumps(drift))
    run = RunRecord.parse({"id": "r", "classes": ["cat", "dog"], "result": result})
    found = monitor(run, answers(3, 3), TOTALS, read_state(tmp_path))
    assert found["drift"]["inputs"]["flagged"] is None and found["accuracy"]["fell"] is None
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("count", [0, 1, 24, 25, 26, 60, 999, 10_000])
def test_pieces_hold_everything_once(count: int) -> None:
    pieces = cut(answers(count, 0), BLOCK)
    assert [a for piece in pieces for a in piece] == answers(count, 0) and len(pieces) <= BLOCKS
    assert all(len(piece) >= min(BLOCK, count) for piece in pieces)
