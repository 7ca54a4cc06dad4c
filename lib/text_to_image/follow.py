"""Asynchronous iteration over the events of tickets, without threads. Closing the iterator cancels."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from lib.text_to_image.events import Done, Event, Failed, Step
from lib.text_to_image.ticket import Ticket

# Each forwarded event costs the server's event loop a few milliseconds.
STEP_SECONDS = 0.1


async def follow(ticket: Ticket) -> AsyncIterator[Event]:
    """Yield events up to Done, with at most one step every ``STEP_SECONDS``.

    Raises the error of a Failed event. Closing the iterator cancels the request.
    """
    loop, changed, last = asyncio.get_running_loop(), asyncio.Event(), -STEP_SECONDS

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed; the engine's thread must not fail because the server stopped
            loop.call_soon_threadsafe(changed.set)

    ticket.set_listener(wake)
    try:
        while True:
            await changed.wait()
            changed.clear()
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

    A Failed is yielded as an event, and the others continue. Closing the iterator cancels those that have not ended.
    """
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    last, running = [-STEP_SECONDS] * len(tickets), list(range(len(tickets)))

    def wake() -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(changed.set)

    try:
        for ticket in tickets:
            ticket.set_listener(wake)
        while running:
            await changed.wait()
            changed.clear()
            for index in list(running):
                for event in tickets[index].take_events():
                    if isinstance(event, Step):
                        if time.monotonic() - last[index] < STEP_SECONDS:
                            continue
                        last[index] = time.monotonic()
                    if isinstance(event, Done | Failed):
                        running.remove(index)
                    yield index, event
    finally:
        for ticket in tickets:
            ticket.cancel()
