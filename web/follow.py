"""A ticket's events in an event loop: no thread waits, and whoever goes away cancels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from lib.text_to_image.events import Done, Event, Failed
from lib.text_to_image.ticket import Ticket


async def follow(ticket: Ticket) -> AsyncIterator[Event]:
    """Yields events up to Done. Raises the error of a Failed; closing it cancels the request."""
    loop, news = asyncio.get_running_loop(), asyncio.Event()
    ticket.listen(lambda: loop.call_soon_threadsafe(news.set))
    try:
        while True:
            await news.wait()
            news.clear()
            for event in ticket.take():
                if isinstance(event, Failed):
                    raise event.error
                yield event
                if isinstance(event, Done):
                    return
    finally:
        ticket.cancel()
