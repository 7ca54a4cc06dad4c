"""Messages between the app, a job's supervisor and the job: JSON objects, each preceded by its length."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

from lib.errors import JobFailed

HEAD = struct.Struct("!I")
MAX_MESSAGE = 64 << 20  # bytes of one message; a report lists at most 50,000 nodes, about 25 MB


def send(end: socket.socket, message: dict[str, Any], *, nan: bool = False) -> None:
    """Sends a message, or nothing if it raises one of the following.

    ValueError for NaN and infinity unless ``nan``; JobFailed if the message is too long.
    """
    data = json.dumps(message, allow_nan=nan).encode()
    if len(data) > MAX_MESSAGE:
        raise JobFailed(f"The result has {len(data) >> 20:,} MB; at most {MAX_MESSAGE >> 20} MB can be returned.")
    end.sendall(HEAD.pack(len(data)) + data)


def receive(end: socket.socket) -> dict[str, Any] | None:
    """Returns the next message, None at the end of the stream. Raises ValueError or RecursionError if it is malformed."""
    head = _exactly(end, HEAD.size)
    if head is None:
        return None
    (size,) = HEAD.unpack(head)
    if size > MAX_MESSAGE:
        raise ValueError("message too long")
    data = _exactly(end, size)
    message = None if data is None else json.loads(data)
    if message is not None and not isinstance(message, dict):
        raise ValueError("no object")
    return message


def _exactly(end: socket.socket, size: int) -> bytes | None:
    """Reads ``size`` bytes, None if the stream ends before that."""
    out = bytearray()
    while len(out) < size:
        data = end.recv(min(1 << 20, size - len(out)))
        if not data:
            return None
        out += data
    return bytes(out)
