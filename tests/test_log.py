"""JSON lines: what happened and where, with the request's id, and no words that may quote a visitor."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest

from lib import log
from lib.errors import JobFailed
from lib.job_metrics import kind_of, outcome
from lib.jobs import Jobs
from lib.origin import Origin, current

SECRET = "zebra"


@pytest.fixture
def json_format() -> Iterator[None]:
    """As the app sets it up, undone afterwards."""
    root, events = logging.getLogger(), logging.getLogger(log.EVENTS)
    before = root.handlers[:], root.level, events.level
    log.setup(log.JSON)
    yield
    logging.captureWarnings(False)
    log.format = log.TEXT
    root.handlers[:], root.level = before[0], before[1]
    events.setLevel(before[2])


def said(caught: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in caught.splitlines()]


def test_an_event_has_the_origin_s_id(json_format: None, capsys: pytest.CaptureFixture[str]) -> None:
    log.setup(log.JSON)  # once more: the stream is the test's now
    token = current.set(Origin("r-1", "rest"))
    log.event("picture", model="m", seconds=0.5, first=None)
    current.reset(token)
    (line,) = said(capsys.readouterr().err)
    assert line["ts"].endswith("+00:00")
    del line["ts"]
    assert line == {
        "level": "info", "event": "picture", "logger": "workbench", "model": "m", "seconds": 0.5, "request": "r-1"
    }  # fmt: skip


def test_exceptions_and_other_libraries_are_not_quoted(json_format: None, capsys: pytest.CaptureFixture[str]) -> None:
    log.setup(log.JSON)
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("lib.anything").exception("a batch of %s broke", SECRET, extra={"request": "r-2"})
    logging.getLogger("somebody.else").warning(f"truncated: {SECRET}")
    logging.getLogger("somebody.else").info("not said")
    caught = capsys.readouterr().err
    ours, theirs = said(caught)
    assert SECRET not in caught
    assert ours["event"] == "a batch of %s broke" and ours["error"] == "ValueError" and ours["request"] == "r-2"
    assert ours["frames"][-1].startswith("tests/test_log.py:") and os.getcwd() not in caught
    assert theirs["event"] == "library" and theirs["where"].startswith("tests/test_log.py:") and "request" not in theirs


def test_the_worker_s_line_has_the_id_of_the_door(json_format: None, capfd: pytest.CaptureFixture[str]) -> None:
    jobs = Jobs(workers=1, waiting=1, preload=("tests.job_tasks",))
    token = current.set(Origin("r-3", "rest"))
    try:
        with pytest.raises(JobFailed) as caught:
            jobs.submit("tests.job_tasks:blow_up", {}).result()
    finally:
        current.reset(token)
        jobs.close()
    (line,) = said(capfd.readouterr().err)
    assert line["event"] == "job_broke" and line["request"] == "r-3" and line["kind"] == "job_tasks.blow_up"
    assert line["error"] == "RuntimeError" and "blow_up" in line["frames"][-1] and "secret" not in str(line)
    assert outcome(caught.value) == "crashed"


def test_kinds() -> None:
    assert kind_of("lib.onnx_inspect.tasks:inspect") == "onnx_inspect.inspect"
    assert kind_of("tests.job_tasks:echo") == "job_tasks.echo"
