from __future__ import annotations

import asyncio
import threading

import pytest
from PIL import Image

from lib.errors import Cancelled, QueueFull
from lib.text_to_image.events import Done, Failed, Queued, Step, Stopped
from lib.text_to_image.follow import follow, follow_each
from lib.text_to_image.request import Request
from lib.text_to_image.ticket import Ticket

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


def test_a_stop_keeps_the_last_preview() -> None:
    t = Ticket(Request(prompt="a", steps=150, seed=3, width=64, height=32))
    previews = [Image.new("RGB", (8, 4), colour) for colour in ("red", "blue")]
    t.emit(Step(9, 150, previews[0], None))
    t.emit(Step(19, 150, previews[1], None))
    t.emit(Step(20, 150, None, None))  # nobody needs a new preview at every step
    t.cancel()
    step, stopped, end = t.take_events()
    assert isinstance(step, Step) and isinstance(end, Failed) and isinstance(end.error, Cancelled)
    assert isinstance(stopped, Stopped) and (stopped.step, stopped.steps) == (19, 150)
    assert stopped.image.size == (64, 32) and stopped.image.getpixel((20, 20)) == (0, 0, 255)
    assert stopped.info["stopped"] == {"step": 19, "steps": 150} and stopped.info["seed"] == 3
    t.cancel()
    assert t.take_events() == []


def test_a_stop_without_a_preview_or_after_the_end_keeps_nothing() -> None:
    t = ticket()
    t.emit(Step(1, 2, None, None))
    t.cancel()
    assert [type(event) for event in t.take_events()] == [Step, Failed]
    t = ticket()
    t.emit(Step(1, 2, Image.new("RGB", (8, 8)), None))
    t.emit(PICTURE)
    t.cancel()
    assert [type(event) for event in t.take_events()] == [Step, Done]


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


def test_several_tickets_are_followed_until_all_have_ended() -> None:
    async def read(tickets: list[Ticket]) -> list:
        return [event async for event in follow_each(tickets)]

    tickets = [ticket() for _ in range(3)]
    tickets[1].emit(Failed(QueueFull(3)))
    threading.Timer(0.05, lambda: tickets[2].emit(PICTURE)).start()
    threading.Timer(0.1, lambda: (tickets[0].emit(Step(1, 2, None, None)), tickets[0].emit(PICTURE))).start()
    events = asyncio.run(read(tickets))
    assert [place for place, _ in events] == [1, 2, 0, 0]
    assert isinstance(events[0][1], Failed) and events[1][1] is events[3][1] is PICTURE


def test_closing_follow_each_cancels_those_that_have_not_ended() -> None:
    async def leave(tickets: list[Ticket]) -> None:
        events = follow_each(tickets)
        tickets[0].emit(PICTURE)
        await anext(events)
        await events.aclose()

    tickets = [ticket() for _ in range(3)]
    asyncio.run(leave(tickets))
    assert [t.cancelled for t in tickets] == [False, True, True]
