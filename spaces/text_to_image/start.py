"""Adds uploaded start pictures to requests, for all interfaces.

If the client disconnects, the child process that opens the files is cancelled.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path

from lib.errors import InvalidValue, WorkbenchError
from lib.jobs import Result
from lib.text_to_image.request import Request
from lib.text_to_image.start_picture import STRENGTH, StartPicture, strength_of
from lib.text_to_image.start_picture_reader import StartPictureReader
from lib.text_to_image.submit import SupportsSubmit, submit_each
from lib.text_to_image.ticket import Ticket
from web.follow_job import follow_job


async def start_picture(
    reader: StartPictureReader, image: Path, mask: Path | None = None, *, strength: object = STRENGTH, strokes: bool = False
) -> StartPicture:
    """Like ``StartPictureReader.read``, without blocking a thread."""
    with reader.open_in_job(image, mask, strength=strength, strokes=strokes) as opening:
        async with aclosing(follow_job(opening.job)) as events:
            async for event in events:
                if isinstance(event, Result):
                    return await asyncio.to_thread(opening.picture, event.value)
    raise AssertionError("a job ends with a result or an error")


async def with_start_picture(
    request: Request, reader: StartPictureReader, image: str | Path | None, mask: str | Path | None, strength: object
) -> Request:
    """Returns ``request`` with the start picture of these files, if any.

    Raises InvalidValue, InvalidFile, and what the job raises.
    """
    number = STRENGTH if strength is None else strength_of(strength)
    if image is None:
        if mask is not None:
            raise InvalidValue("mask", "a picture", "a mask only together with an image")
        if number != STRENGTH:
            raise InvalidValue("strength", number, "a strength only together with an image")
        return request
    start = await start_picture(reader, Path(image), Path(mask) if mask else None, strength=number)
    return replace(request, start=start)


async def submit(engine: SupportsSubmit, request: Request, *, owner: str, watch: bool) -> list[Ticket]:
    """Like ``submit_each``. It scales start pictures, so requests with one are submitted in a thread."""
    if request.start is None:
        return submit_each(engine, request, owner=owner, watch=watch)
    work = asyncio.ensure_future(asyncio.to_thread(submit_each, engine, request, owner=owner, watch=watch))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        work.add_done_callback(_cancel)
        raise


def _cancel(work: asyncio.Future[list[Ticket]]) -> None:
    """Cancels tickets whose client has disconnected."""
    with suppress(WorkbenchError):
        for ticket in work.result():
            ticket.cancel()
