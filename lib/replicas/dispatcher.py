"""Send waiting tickets to replicas, receive their events, and replay the requests of lost replicas.

Runs in one event loop. Only the queue is shared with the threads that submit; its lock guards it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from lib import log, metrics
from lib.errors import GenerationFailed, WorkbenchError
from lib.replicas import messages, replica_metrics
from lib.replicas.flights import Facts, Flights, batch_work, key_of, with_resolved_size, work
from lib.replicas.replica import Replica
from lib.replicas.router import Key, Router
from lib.text_to_image.engine import PATIENCE
from lib.text_to_image.events import Done, Failed, Loading, Queued, Step
from lib.text_to_image.queue import FairQueue
from lib.text_to_image.ticket import Ticket

MAX_REPLAYS = 3
LOOK_SECONDS = 0.25
LATE = 2.0  # seconds; a loop that is later was itself suspended, so silent replicas are not considered unhealthy
REPLICAS_LOST = "The replica that drew it was lost, and so were three others that restarted it. Please try again."


class Waiting:
    """The queue that threads submit to and the loop takes from. ``lock`` guards all of it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.queue = FairQueue()
        self.fresh: list[Ticket] = []


class Dispatcher:
    """Matches tickets with replicas and forwards the replicas' events to the tickets."""

    def __init__(self, waiting: Waiting, replicas: Callable[[], list[Replica]], idle: Callable[[], None]) -> None:
        """``replicas``: returns the back end's current replicas; ``idle``: called whenever no request is running."""
        self._waiting, self._replicas, self._idle = waiting, replicas, idle
        self.flights, self.facts, self._router = Flights(), Facts(), Router()
        self.replays: deque[Ticket] = deque()
        self._losses: WeakKeyDictionary[Ticket, int] = WeakKeyDictionary()
        self._since, self._rate, self._done = time.monotonic(), 0.0, 0.0

    # -- messages from replicas -----------------------------------------------------------------------

    def heartbeat(self, replica: Replica, message: dict[str, Any]) -> None:
        """Update a replica from its heartbeat."""
        before = replica.usable, replica.models
        replica.update(message)
        self.facts |= replica.models
        replica_metrics.replay(message.get("figures", []))
        if (replica.usable, replica.models) != before:
            self.dispatch()

    def event(self, replica: Replica, head: dict[str, Any], blob: bytes) -> None:
        """Forward an event of an order to its ticket."""
        flight, now = self.flights.get(head["order"]), time.monotonic()
        if flight is None:  # cancelled, or replayed on another replica
            return
        event = messages.decode(head, blob, flight.preview)
        replica.last_step = now
        if isinstance(event, Step):
            steps = flight.left - (event.steps - event.step)
            if steps > 0:
                self._done += work(flight.ticket.request, steps)
                tick = (now - flight.last_event) / steps
                replica.tick = tick if replica.tick is None else 0.8 * replica.tick + 0.2 * tick
            flight.left, flight.preview, flight.last_event = event.steps - event.step, event.preview, now
        elif isinstance(event, Queued):
            flight.last_event = now
        if isinstance(event, Done | Failed):
            self.flights.pop(flight.number)
        flight.ticket.emit(event)
        if isinstance(event, Done | Failed):
            self.dispatch()

    def lost(self, replica: Replica, why: str) -> None:
        """Replay all requests of a lost replica."""
        flights = self.flights.of(replica)
        log.event("replica_lost", logging.WARNING, replica=replica.name, why=why, requests=len(flights))
        replica.reset()
        for flight in flights:
            self._replay(flight.number)
        self.dispatch()

    def dropped(self, replica: Replica, number: int) -> None:
        """Replay a single lost request."""
        self._replay(number)
        self.dispatch()

    def _replay(self, number: int) -> None:
        """Queue the request for another replica. Its seed is fixed, so the picture will be the same."""
        with self._waiting.lock:  # ``drain`` must always find it either running or queued
            flight = self.flights.pop(number)
            if flight is None or flight.ticket.ended:
                return
            ticket = flight.ticket
            losses = self._losses[ticket] = self._losses.get(ticket, 0) + 1
            if losses <= MAX_REPLAYS:
                self.replays.append(ticket)
        if losses > MAX_REPLAYS:
            ticket.emit(Failed(GenerationFailed(REPLICAS_LOST)))
            return
        metrics.REPLAYS.inc()
        ticket.emit(Queued(1, None))

    def cancelled(self, ticket: Ticket) -> None:
        """Cancel the request of a ticket on its replica."""
        flight = self.flights.with_ticket(ticket)
        if flight is not None:
            self.flights.pop(flight.number)
            flight.replica.cancel(flight.number)
        self.dispatch()

    # -- requests to replicas ------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Send all requests that fit a replica now."""
        with self._waiting.lock:  # sending never waits
            fresh, self._waiting.fresh = self._waiting.fresh, []
            for ticket in fresh:
                self._router.add_work(key_of(ticket.request), work(ticket.request), time.monotonic())
            work_left: dict[Key, float] = defaultdict(float)
            for ticket in self._waiting.queue.order():
                work_left[key_of(ticket.request)] += work(ticket.request)
            self._send_replays(work_left)
            self._send_waiting(work_left)
        if not self.flights and not self.replays:
            self._idle()

    def _send_replays(self, left: dict[Key, float]) -> None:
        for ticket in list(self.replays):
            replica = None if ticket.ended else self._choose(ticket, left)
            if ticket.ended or replica is not None:
                self.replays.remove(ticket)
            if replica is not None:
                self._send(ticket, replica)

    def _send_waiting(self, left: dict[Key, float]) -> None:
        assigned: dict[Ticket, Replica] = {}
        full: set[Key] = set()

        def accept(ticket: Ticket) -> bool:
            """Return whether the ticket leaves the queue. One that does not fit and has waited for ``PATIENCE`` seconds
            blocks later ones of its model and size."""
            try:
                ticket.request = with_resolved_size(ticket.request, self.facts)
            except WorkbenchError as error:
                ticket.emit(Failed(error))
                return True
            key = key_of(ticket.request)
            replica = None if key in full else self._choose(ticket, left)
            if replica is not None:
                assigned[ticket] = replica
            elif time.monotonic() - ticket.created > PATIENCE:
                full.add(key)
            return replica is not None

        while (ticket := self._waiting.queue.pop(accept)) is not None:
            if not ticket.ended:
                left[key_of(ticket.request)] -= work(ticket.request)
                self._send(ticket, assigned[ticket])

    def _choose(self, ticket: Ticket, left: dict[Key, float]) -> Replica | None:
        request, key = ticket.request, key_of(ticket.request)
        usable = {replica.number: replica for replica in self._replicas() if replica.usable}
        place = self._router.choose(
            key,
            [self.flights.candidate(replica) for replica in usable.values()],
            lambda place: self.flights.fits(usable[place.number], request, self.facts),
            waiting=left[key],
            batch=batch_work(request, self.facts),
        )
        return None if place is None else usable[place.number]

    def _send(self, ticket: Ticket, replica: Replica) -> None:
        flight = self.flights.add(ticket, replica)
        if len(self.flights.of(replica)) == 1:
            replica.last_step = time.monotonic()  # it was idle, not stuck
        ticket.metrics.replica = replica.name
        origin = ticket.metrics.origin
        replica.send(flight.number, ticket.request, ticket.watch, (origin.id, origin.door))

    # -- periodic checks -----------------------------------------------------------------------------

    async def watch(self) -> None:
        """Give up unhealthy replicas and send waiting tickets their positions, until cancelled."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            for replica in self._replicas():
                if now - last > LOOK_SECONDS + LATE:
                    replica.last_message = replica.last_step = now
                elif why := replica.unhealthy_reason(now, busy=bool(self.flights.of(replica))):
                    self._give_up(replica, why)
            seconds, last = now - last, now
            self._rate, self._done = 0.95 * self._rate + 0.05 * self._done / seconds, 0.0
            try:
                self.dispatch()
                self._emit_positions()
            except Exception:  # the loop must go on: without it no lost replica is noticed
                logging.getLogger(__name__).exception("the dispatcher broke")

    def _give_up(self, replica: Replica, why: str) -> None:
        if replica.alive:
            self.lost(replica, why)
        replica.last_message = replica.last_step = time.monotonic()
        replica.give_up()

    def _emit_positions(self) -> None:
        with self._waiting.lock:
            waiting = list(self._waiting.queue.order())
        replicas = self._replicas()
        if not any(replica.usable for replica in replicas):
            stage = next((r.status["stage"] for r in replicas if r.status.get("stage")), "starting")
            for ticket in [*self.replays, *waiting]:
                ticket.emit(Loading(stage, time.monotonic() - self._since))
            return
        self._since = time.monotonic()
        ahead = sum(work(flight.ticket.request, flight.left) for flight in self.flights.all())
        for position, ticket in enumerate(waiting):
            ahead += work(ticket.request)
            ticket.emit(Queued(position + 1, ahead / self._rate if self._rate else None))

    def demand(self) -> float:
        """Return the running and waiting work, in full batches."""
        with self._waiting.lock:
            waiting = [ticket.request for ticket in self._waiting.queue.order()]
        requests = waiting + [t.request for t in list(self.replays)] + [f.ticket.request for f in self.flights.all()]
        return sum(work(request) / batch_work(request, self.facts) for request in requests)

    def under_way(self) -> Counter[str]:
        """Return the number of running requests by model, including those to be replayed."""
        return Counter(flight.key[0] for flight in self.flights.all()) + Counter(t.request.model for t in list(self.replays))

    def rows(self) -> int:
        """Return the rows of all running requests."""
        return self.flights.rows()
