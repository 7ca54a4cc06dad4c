"""Asynchronous iteration over the events of tickets, without threads. Closing the iterator cancels."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from lib.text_to_image.events import Done, Event, Failed, Step
from lib.text_to_image.ticket import Ticket

# Every forwarded event costs the server's event loop some milliseconds.
STEP_SECONDS = 0.1


async def follow(ticket: Ticket) -> AsyncIterator[Event]:
    """Yields events up to Done, and at most one step every ``STEP_SECONDS``.

    Raises the error of a Failed; closing it cancels the request.
    """
    loop, news, last = asyncio.get_running_loop(), asyncio.Event(), -STEP_SECONDS

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed; the engine's thread must not fail because the server stopped
            loop.call_soon_threadsafe(news.set)

    ticket.set_listener(wake)
    try:
        while True:
            await news.wait()
            news.clear()
            for event in ticket.take_events():
                if isinstance(event, Failed):
                    raise event.error
                if isinstance(event, Step):
                    if time.monotonic() - last < STEP_SECONDS:
                        continue
                    last = time.monotonic()
                yield event
                if isinstance(event, Done):
                    return
    finally:
        ticket.cancel()


async def follow_each(tickets: Sequence[Ticket]) -> AsyncIterator[tuple[int, Event]]:
    """Like ``follow``, for several tickets: yields (index of the ticket, event) until all have ended.

    A Failed comes as an event: the others go on. Closing it cancels those that have not ended.
    """
    loop, news = asyncio.get_running_loop(), asyncio.Event()
    last, left = [-STEP_SECONDS] * len(tickets), list(range(len(tickets)))

    def wake() -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(news.set)

    try:
        for ticket in tickets:
            ticket.set_listener(wake)
        while left:
            await news.wait()
            news.clear()
            for place in list(left):
                for event in tickets[place].take_events():
                    if isinstance(event, Step):
                        if time.monotonic() - last[place] < STEP_SECONDS:
                            continue
                        last[place] = time.monotonic()
                    if isinstance(event, Done | Failed):
                        left.remove(place)
                    yield place, event
    finally:
        for ticket in tickets:
            ticket.cancel()
