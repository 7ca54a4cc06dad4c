"""The body of a request into a file, in pieces, up to the limits of an upload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import Request
from starlette.requests import ClientDisconnect

from lib.errors import Cancelled, LimitExceeded, QueueFull

PIECE = 1 << 20
PAUSE = 30.0  # seconds between two pieces
AT_ONCE = 64  # bodies: each holds a file on the disk before its job has a place in the queue

_under_way = 0  # of this process: only its event loop counts here


async def receive(http: Request, path: Path, max_file_mb: int) -> int:
    """Returns the number of bytes. Raises LimitExceeded as soon as there are too many or none comes for long, QueueFull
    where too many bodies are on their way, Cancelled where the client goes away.
    """
    size, piece = 0, bytearray()
    with _place(), path.open("wb") as file:
        async for chunk in _chunks(http):
            piece += chunk
            size += len(chunk)
            if size > max_file_mb << 20:
                raise LimitExceeded("file", f"{max_file_mb} MB")
            if len(piece) >= PIECE:
                await asyncio.to_thread(file.write, bytes(piece))
                piece.clear()
        file.write(piece)
    return size


async def _chunks(http: Request) -> AsyncIterator[bytes]:
    stream = aiter(http.stream())
    while True:
        try:
            async with asyncio.timeout(PAUSE):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise LimitExceeded("pause in the middle of the file", f"{PAUSE:.0f} seconds") from None
        except ClientDisconnect:
            raise Cancelled() from None
        yield chunk


@contextmanager
def _place() -> Iterator[None]:
    global _under_way
    if _under_way >= AT_ONCE:
        raise QueueFull(_under_way)
    _under_way += 1
    try:
        yield
    finally:
        _under_way -= 1
