"""The body of a request into a file, in pieces, up to the limit of an upload."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fastapi import Request

from lib.errors import LimitExceeded

PIECE = 1 << 20


async def receive(http: Request, path: Path, max_file_mb: int) -> int:
    """Returns the number of bytes. Raises LimitExceeded as soon as there are too many."""
    size, piece = 0, bytearray()
    with path.open("wb") as file:
        async for chunk in http.stream():
            piece += chunk
            size += len(chunk)
            if size > max_file_mb << 20:
                raise LimitExceeded("file", f"{max_file_mb} MB")
            if len(piece) >= PIECE:
                await asyncio.to_thread(file.write, bytes(piece))
                piece.clear()
        file.write(piece)
    return size
