"""Track the requests in flight on replicas: where each one runs, the steps left, and whether another one fits."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lib.replicas.replica import Replica
from lib.replicas.router import Candidate, Key
from lib.text_to_image.engine import MAX_GROUPS
from lib.text_to_image.group import rows_at
from lib.text_to_image.models import resolve_size
from lib.text_to_image.request import Request
from lib.text_to_image.ticket import Ticket

if TYPE_CHECKING:
    from PIL.Image import Image

# Rows sent in excess of a full batch: one guided request waits on the replica, so that its batch stays full when a picture
# ends.
AHEAD = 2
UNKNOWN = 512  # assumed pixels per side for a model that no replica has loaded yet
# By model: its trained ``size`` in pixels, the ``rows`` of a batch at that size, the ``multiple`` of its sides, and the
# rows of a ``guided`` request.
Facts = dict[str, dict[str, int]]


def key_of(request: Request) -> Key:
    """Return the key of a request: model, width and height."""
    return request.model, request.width, request.height


def with_resolved_size(request: Request, facts: Facts) -> Request:
    """Return the request with its size filled in, if the model is known. Raises InvalidValue."""
    known = facts.get(request.model)
    return resolve_size(request, request.model, known["size"], known.get("multiple", 8)) if known else request


def work(request: Request, steps: int | None = None) -> float:
    """Return the work of a request: rows x pixels x steps left."""
    area = (request.width or UNKNOWN) * (request.height or UNKNOWN)
    return network_rows(request) * area * (request.steps_run if steps is None else steps)


def network_rows(request: Request, known: dict[str, int] | None = None) -> int:
    """Return the rows that the request takes per call of the network."""
    return (known or {}).get("guided", 2) if request.guided else 1


@dataclass(eq=False, slots=True)
class Flight:
    """One attempt of one request on one replica."""

    number: int
    ticket: Ticket
    replica: Replica
    key: Key
    left: int
    last_event: float = field(default_factory=time.monotonic)
    preview: Image | None = None


class Flights:
    """The running attempts, by number."""

    def __init__(self) -> None:
        self._flights: dict[int, Flight] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._flights)

    def add(self, ticket: Ticket, replica: Replica) -> Flight:
        self._last += 1
        flight = Flight(self._last, ticket, replica, key_of(ticket.request), ticket.request.steps_run)
        self._flights[flight.number] = flight
        return flight

    def get(self, number: int) -> Flight | None:
        return self._flights.get(number)

    def pop(self, number: int) -> Flight | None:
        return self._flights.pop(number, None)

    def of(self, replica: Replica) -> list[Flight]:
        return [flight for flight in self._flights.values() if flight.replica is replica]

    def with_ticket(self, ticket: Ticket) -> Flight | None:
        return next((flight for flight in self._flights.values() if flight.ticket is ticket), None)

    def all(self) -> list[Flight]:
        return list(self._flights.values())

    def rows(self) -> int:
        return sum(network_rows(flight.ticket.request) for flight in self.all())

    def candidate(self, replica: Replica) -> Candidate:
        """Return the replica as the router sees it."""
        load = sum(work(flight.ticket.request, flight.left) for flight in self.of(replica))
        return Candidate(replica.number, load, frozenset(replica.models))

    def fits(self, replica: Replica, request: Request, facts: Facts) -> bool:
        """Return whether the request's rows would join a batch of the replica immediately, or soon (``AHEAD``)."""
        key, running = key_of(request), self.of(replica)
        known = replica.models.get(request.model) or facts.get(request.model)
        same_batch = [flight for flight in running if flight.key == key]
        if known is None:  # send one request, which makes the replica load the model
            return not same_batch
        if known["rows"] == 1:  # such a model runs one request at a time
            return not any(flight.key[0] == request.model for flight in running)
        if not same_batch:
            return len({flight.key for flight in running}) < MAX_GROUPS
        rows = sum(network_rows(flight.ticket.request, known) for flight in same_batch) + network_rows(request, known)
        return rows <= rows_at(known["rows"], known["size"], request.width, request.height) + AHEAD


def batch_work(request: Request, facts: Facts) -> float:
    """Return the work of a full batch of requests like this one."""
    known = facts.get(request.model)
    rows = rows_at(known["rows"], known["size"], request.width, request.height) if known else 2
    return work(request) / network_rows(request, known) * rows
