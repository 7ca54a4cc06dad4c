"""An engine that stops: running pictures are finished, those that wait are told, new ones are refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lib import metrics
from lib.errors import ModelUnavailable
from lib.settings import Settings
from lib.text_to_image.engine import STOPPING, Engine
from lib.text_to_image.events import Done, Failed, Step
from lib.text_to_image.request import Request
from lib.text_to_image.ticket import Ticket
from tests.text_to_image.test_engine import make, slow


@pytest.fixture
def small(settings: Settings) -> Iterator[Engine]:
    engine = make(settings, default_model="sd", max_rows=4)
    yield engine
    engine.close()


def fill(engine: Engine, steps: int) -> tuple[list[Ticket], list[Ticket]]:
    """Two that run, three that wait."""
    tickets = [engine.submit(Request(prompt="a car", steps=steps, seed=n)) for n in range(5)]
    events = tickets[0].events()
    while not isinstance(next(events), Step):
        pass
    while engine.under_way()["running"].get("sd", 0) < 2:
        next(events)
    assert engine.under_way() == {"running": {"sd": 2}, "waiting": {"sd": 3}}
    threading.Thread(target=lambda: list(events), daemon=True).start()  # leaving the generator would cancel
    return tickets[:2], tickets[2:]


def end(ticket: Ticket) -> Done | Failed:
    return next(event for event in reversed(ticket.take_events()) if isinstance(event, Done | Failed))


def test_running_ones_end(small: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(monkeypatch, small)
    running, waiting = fill(small, steps=40)
    before = metrics.REQUESTS.labels("sd", "library", "done")._value.get()
    assert small.drain(60)
    assert all(ticket.ended for ticket in running + waiting)
    assert isinstance(end(running[1]), Done)
    assert metrics.REQUESTS.labels("sd", "library", "done")._value.get() == before + 2
    told = [end(ticket) for ticket in waiting]
    assert all(isinstance(one, Failed) and str(one.error) == STOPPING for one in told)
    with pytest.raises(ModelUnavailable, match="being stopped"):
        small.submit(Request(prompt="late"))
    assert small.under_way() == {"running": {}, "waiting": {}} and small.drain(0.1)


def test_not_for_ever(small: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(monkeypatch, small, 0.2)
    running, _ = fill(small, steps=100)
    assert not small.drain(0.5)
    assert not running[1].ended
    small.close()
    assert running[1].ended


def test_an_engine_that_never_began(settings: Settings) -> None:
    assert Engine(settings).drain(5)


def test_what_is_observed_of_a_picture(small: Engine) -> None:
    def count(metric: object) -> float:
        return sum(s.value for f in metric.collect() for s in f.samples if s.name.endswith("_count"))  # type: ignore[attr-defined]

    watched = (metrics.QUEUE_SECONDS, metrics.FIRST_PREVIEW_SECONDS, metrics.REQUEST_SECONDS, metrics.DECODE_SECONDS)
    of_a_step = (metrics.TICK_SECONDS, metrics.TICK_ROWS)
    before, ticks = [count(one) for one in watched], [count(one) for one in of_a_step]
    small.submit(Request(prompt="a car", steps=5)).result()
    assert [count(one) for one in watched] == [n + 1 for n in before]
    assert [count(one) for one in of_a_step] == [n + 5 for n in ticks]
    small.submit(Request(prompt="a car", steps=5), watch=False).result()
    assert count(metrics.FIRST_PREVIEW_SECONDS) == before[1] + 1
