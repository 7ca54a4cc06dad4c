"""Streams a request body to a file, within the limits of an upload.

Small bodies (JSON) have a pool of their own, so that slow uploads cannot block them. A body that trickles in cannot
occupy its place either: it has ``GRACE`` seconds, plus one per ``RATE`` bytes received.
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
PAUSE = 30.0  # seconds between two chunks
GRACE, RATE = 30.0, 64_000  # seconds per body, and bytes per additional second
SMALL_MB = 1
AT_ONCE = 64  # bodies per pool: each occupies disk space before its job is queued

_under_way = {"small": 0, "large": 0}  # of this process; only changed in its event loop


async def receive(http: Request, path: Path, max_file_mb: int) -> int:
    """Writes the body to ``path`` and returns its size in bytes.

    Raises LimitExceeded as soon as it is too large, TooSlow if it arrives too slowly, QueueFull if too many bodies are
    pending, Cancelled if the client disconnects.
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
