"""The body of a request into a file, in pieces, up to the limits of an upload.

Small bodies (JSON) have places of their own, so that slow uploads cannot keep them out, and no body keeps its place by
coming a byte at a time: it has ``GRACE`` seconds, and one more for every ``RATE`` bytes that came.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import Request
from starlette.requests import ClientDisconnect

from lib.errors import Cancelled, LimitExceeded, QueueFull, TooSlow

PIECE = 1 << 20
PAUSE = 30.0  # seconds between two pieces
GRACE, RATE = 30.0, 64_000  # seconds for a whole body, and bytes that earn it one more
SMALL_MB = 1
AT_ONCE = 64  # bodies of each size: each holds a file on the disk before its job has a place in the queue

_under_way = {"small": 0, "large": 0}  # of this process: only its event loop counts here


async def receive(http: Request, path: Path, max_file_mb: int) -> int:
    """Returns the number of bytes. Raises LimitExceeded as soon as there are too many, TooSlow where they come too
    slowly, QueueFull where too many bodies are on their way, Cancelled where the client goes away.
    """
    size, piece = 0, bytearray()
    with _place(max_file_mb), path.open("wb") as file:
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
    stream, began, size = aiter(http.stream()), time.monotonic(), 0
    while True:
        left = began + GRACE + size / RATE - time.monotonic()
        try:
            async with asyncio.timeout(min(PAUSE, left)):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise TooSlow(size, time.monotonic() - began) from None
        except ClientDisconnect:
            raise Cancelled() from None
        size += len(chunk)
        yield chunk


@contextmanager
def _place(max_file_mb: int) -> Iterator[None]:
    pool = "small" if max_file_mb <= SMALL_MB else "large"
    if _under_way[pool] >= AT_ONCE:
        raise QueueFull(_under_way[pool])
    _under_way[pool] += 1
    try:
        yield
    finally:
        _under_way[pool] -= 1
