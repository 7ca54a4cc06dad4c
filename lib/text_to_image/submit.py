"""Submit the pictures of a request, each with its own ticket and its own place in the queue."""

from __future__ import annotations

from typing import Protocol

from lib.errors import WorkbenchError
from lib.text_to_image.request import Request
from lib.text_to_image.ticket import Ticket


class SupportsSubmit(Protocol):
    """The method that every engine has (``engine.py``, ``zero_gpu.py``, ``lib/replicas/remote.py``)."""

    def submit(self, request: Request, *, owner: str = "", watch: bool = True) -> Ticket: ...


def submit_each(engine: SupportsSubmit, request: Request, *, owner: str = "", watch: bool = True) -> list[Ticket]:
    """Return a ticket for each of the ``request.count`` pictures, in the order of their seeds. Submits all or none.

    Raises as ``engine.submit`` does, such as QueueFull if not all fit into the queue.
    """
    tickets: list[Ticket] = []
    try:
        for picture_request in request.per_picture():
            tickets.append(engine.submit(picture_request, owner=owner, watch=watch))
    except WorkbenchError:
        for ticket in tickets:
            ticket.cancel()
        raise
    return tickets
