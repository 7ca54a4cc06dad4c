"""Several pictures in one request: a ticket each, their own seeds, their owner's turns."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lib.errors import Cancelled, QueueFull
from lib.settings import Settings
from lib.text_to_image.engine import Engine
from lib.text_to_image.models import Model
from lib.text_to_image.queue import FairQueue
from lib.text_to_image.request import Request
from lib.text_to_image.submit import submit_each
from lib.text_to_image.ticket import Ticket
from tests.text_to_image.test_batch import alone, furthest
from tests.text_to_image.test_engine import make, slow, small, wait_for  # noqa: F401


def test_each_picture_is_the_one_that_its_seed_makes_alone(small: Engine, sd: Model) -> None:  # noqa: F811
    asked = Request(prompt="a red car", steps=4, seed=2**32 - 2, count=4)
    pictures = [ticket.result() for ticket in submit_each(small, asked)]
    assert [done.info["seed"] for done in pictures] == [2**32 - 2, 2**32 - 1, 0, 1]
    for done in pictures:
        single = replace(asked, count=1, seed=done.info["seed"])
        assert furthest(done.image, alone(sd, single)) <= 1
        assert "count" not in done.info


def test_one_owner_s_burst_holds_up_nobody() -> None:
    queue = FairQueue()
    for one in Request(prompt="a", seed=0, count=4).per_picture():
        queue.push("key", Ticket(one, owner="burst"))
    queue.push("key", Ticket(Request(prompt="b"), owner="other"))
    assert [ticket.owner for ticket in queue.order()] == ["burst", "other", "burst", "burst", "burst"]


def test_a_burst_that_does_not_fit_leaves_nothing_behind(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make(settings, default_model="sd", max_rows=2, queue_size=3)
    slow(monkeypatch, engine)
    running = engine.submit(Request(prompt="a", steps=100))
    wait_for(lambda: engine.status()["rows_in_batch"] == 2)
    with pytest.raises(QueueFull, match="3 waiting"):
        submit_each(engine, Request(prompt="a", steps=2, count=4))
    assert engine.status()["queue_length"] == 0
    waiting = submit_each(engine, Request(prompt="a", steps=2, count=3))
    waiting[1].cancel()
    running.cancel()
    assert waiting[0].result() and waiting[2].result()
    with pytest.raises(Cancelled):
        waiting[1].result()
    engine.close()
