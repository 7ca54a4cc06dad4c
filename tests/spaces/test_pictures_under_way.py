"""What a visitor has under way on the picture page: it outlives a page, and ends when nobody comes back. Real tickets."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lib.errors import GenerationFailed
from lib.text_to_image.events import Done, Failed, Step
from lib.text_to_image.gallery import Gallery, plain_name
from lib.text_to_image.request import Request
from lib.text_to_image.ticket import Ticket
from tests.spaces.conftest import ROOT
from web.shell import load_tab

ANN, BEN = "a" * 32, "b" * 32
RED = Image.new("RGB", (16, 16), "red")


@pytest.fixture(scope="module")
def module() -> Any:
    load_tab(ROOT / "spaces" / "text_to_image")
    return sys.modules["tab_text_to_image.picture_sessions"]


def ticket(prompt: str) -> Ticket:
    return Ticket(Request(prompt=prompt, seed=5, width=64, height=64, model="m", steps=9))


def done(one: Ticket) -> None:
    one.emit(Done(RED, one.request.as_dict() | {"revision": "x", "seconds": 1.0}))


async def last(sessions: Any, key: str, page: str) -> Any:
    async with aclosing(sessions.watch(key, page)) as updates:
        return ([None] + [found async for found in updates])[-1]


def test_each_becomes_a_picture_and_a_failure_takes_no_other_with_it(module: Any, tmp_path: Path) -> None:
    async def act() -> None:
        store = Gallery(tmp_path, hours=1)
        sessions, tickets = module.PictureSessions(store), [ticket("a red car"), ticket("a boat"), ticket("a fish")]
        found = sessions.add(ANN, tickets[:2])
        assert sessions.add(ANN, tickets[2:]) is found and sessions.running(ANN) == 3 and sessions.running(BEN) == 0
        watching = asyncio.create_task(last(sessions, ANN, "page"))
        done(tickets[2])
        tickets[1].emit(Failed(GenerationFailed("broken")))
        done(tickets[0])
        assert await watching is found
        assert [bool(picture.name) for picture in found.pictures] == [True, False, True]
        assert str(found.pictures[1].error) == "broken" and found.running == 0
        assert {plain_name(path) for path in store.pictures(ANN)} == {"a-red-car-5", "a-fish-5"}
        assert sessions.add(ANN, [ticket("a cat")]).pictures[0].number == 0  # another session

    asyncio.run(act())


def test_stop_keeps_the_last_preview(module: Any, tmp_path: Path) -> None:
    async def act() -> None:
        sessions, one = module.PictureSessions(Gallery(tmp_path, hours=1)), ticket("a red car")
        found = sessions.add(ANN, [one])
        watching = asyncio.create_task(last(sessions, ANN, "page"))
        one.emit(Step(3, 9, RED, None))
        await asyncio.sleep(0)
        sessions.stop(BEN)
        assert not one.ended
        sessions.stop(ANN)
        await watching
        assert found.pictures[0].name.endswith("a-red-car-5-stopped-at-3.png") and found.pictures[0].error is None

    asyncio.run(act())


def test_a_page_that_comes_back_finds_it_and_one_that_does_not_ends_it(module: Any, tmp_path: Path) -> None:
    async def act() -> None:
        sessions, one, other = (
            module.PictureSessions(Gallery(tmp_path, hours=1), away=0.3),
            ticket("a red car"),
            ticket("a boat"),
        )
        sessions.add(ANN, [one])
        sessions.add(BEN, [other])
        for page in ("first", "reloaded"):
            async with aclosing(sessions.watch(ANN, page)) as updates:
                await anext(updates)
                assert sessions.watched(ANN, page) and not sessions.watched(ANN, "another")
        async with aclosing(sessions.watch(ANN, "stays")) as updates:
            while not other.ended:  # nobody watches it
                await anext(updates)
            assert other.cancelled and not one.ended and sessions.running(ANN) == 1
        while not one.ended:
            await asyncio.sleep(0.05)
        assert one.cancelled

    asyncio.run(act())


def test_a_round_that_ended_before_its_page_watched_is_still_told(module: Any, tmp_path: Path) -> None:
    async def act() -> None:
        sessions, one = module.PictureSessions(Gallery(tmp_path, hours=1)), ticket("a red car")
        found = sessions.add(ANN, [one])
        done(one)
        while found.running:
            await asyncio.sleep(0.01)
        assert await last(sessions, ANN, "page") is found
        assert await last(sessions, BEN, "page") is None

    asyncio.run(act())


def test_a_later_watch_of_a_page_takes_the_place_of_the_earlier(module: Any, tmp_path: Path) -> None:
    async def act() -> None:
        sessions, one = module.PictureSessions(Gallery(tmp_path, hours=1)), ticket("a red car")
        found = sessions.add(ANN, [one])
        first = asyncio.create_task(last(sessions, ANN, "page"))
        await asyncio.sleep(0)
        second = asyncio.create_task(last(sessions, ANN, "page"))
        await first
        assert found.running == 1 and not second.done()
        done(one)
        await second

    asyncio.run(act())
