from __future__ import annotations

import asyncio
import threading

import pytest
from PIL import Image

from lib.errors import Cancelled, QueueFull
from lib.text_to_image.events import Done, Failed, Queued, Step
from lib.text_to_image.request import Request
from lib.text_to_image.ticket import Ticket
from web.follow import follow

PICTURE = Done(Image.new("RGB", (8, 8)), {"seed": 1})


def ticket() -> Ticket:
    return Ticket(Request(prompt="a"))


def test_a_slow_reader_gets_the_newest_of_a_kind_and_the_end() -> None:
    t = ticket()
    for event in (Queued(2, None), Queued(1, None), Step(1, 3, None, None), Step(2, 3, None, None), PICTURE):
        t.emit(event)
    assert list(t.events()) == [Queued(1, None), Step(2, 3, None, None), PICTURE]


def test_nothing_comes_after_the_end() -> None:
    t = ticket()
    t.cancel()
    t.emit(PICTURE)
    with pytest.raises(Cancelled):
        t.result()
    t = ticket()
    t.emit(PICTURE)
    t.cancel()
    assert t.result() is PICTURE and not t.cancelled


def test_follow_wakes_from_another_thread_and_raises_the_failure() -> None:
    async def read(t: Ticket) -> list:
        return [event async for event in follow(t)]

    t = ticket()
    threading.Timer(0.05, lambda: (t.emit(Step(1, 2, None, None)), t.emit(PICTURE))).start()
    assert asyncio.run(read(t))[-1] is PICTURE
    t = ticket()
    threading.Timer(0.05, lambda: t.emit(Failed(QueueFull(3)))).start()
    with pytest.raises(QueueFull):
        asyncio.run(read(t))


def test_closing_follow_cancels() -> None:
    async def leave(t: Ticket) -> None:
        events = follow(t)
        t.emit(Step(1, 2, None, None))
        await anext(events)
        await events.aclose()

    t, told = ticket(), []
    t.on_cancel = lambda: told.append(True)
    asyncio.run(leave(t))
    assert t.cancelled and told == [True]
