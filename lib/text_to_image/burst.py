"""Several pictures in one request: a ticket each. They wait and join the batch one by one, in their owner's turns."""

from __future__ import annotations

from typing import Protocol

from lib.errors import WorkbenchError
from lib.text_to_image.request import Request
from lib.text_to_image.ticket import Ticket


class Submits(Protocol):
    """What every engine has (``engine.py``, ``zero_gpu.py``, ``lib/replicas/remote.py``)."""

    def submit(self, request: Request, *, owner: str = "", watch: bool = True) -> Ticket: ...


def submit_each(engine: Submits, request: Request, *, owner: str = "", watch: bool = True) -> list[Ticket]:
    """A ticket for each of the ``request.count`` pictures, in the order of their seeds; all of them or none.

    Raises what ``engine.submit`` raises: QueueFull where not all have a place.
    """
    tickets: list[Ticket] = []
    try:
        for one in request.each():
            tickets.append(engine.submit(one, owner=owner, watch=watch))
    except WorkbenchError:
        for ticket in tickets:
            ticket.cancel()
        raise
    return tickets
