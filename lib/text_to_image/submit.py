"""Submits several pictures of one request, each with its own ticket and its own place in the queue."""

from __future__ import annotations

from typing import Protocol

from lib.errors import WorkbenchError
from lib.text_to_image.request import Request
from lib.text_to_image.ticket import Ticket


class SupportsSubmit(Protocol):
    """The method that every engine has (``engine.py``, ``zero_gpu.py``, ``lib/replicas/remote.py``)."""

    def submit(self, request: Request, *, owner: str = "", watch: bool = True) -> Ticket: ...


def submit_each(engine: SupportsSubmit, request: Request, *, owner: str = "", watch: bool = True) -> list[Ticket]:
    """A ticket for each of the ``request.count`` pictures, in the order of their seeds; all of them or none.

    Raises what ``engine.submit`` raises: QueueFull where not all have a place.
    """
    tickets: list[Ticket] = []
    try:
        for one in request.per_picture():
            tickets.append(engine.submit(one, owner=owner, watch=watch))
    except WorkbenchError:
        for ticket in tickets:
            ticket.cancel()
        raise
    return tickets
