"""Sends waiting tickets to replicas, hears of them, and sends those again whose replica is lost.

Everything here runs in one event loop; only the queue is shared with the threads that submit, under its lock.
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
from lib.replicas import figures, messages
from lib.replicas.flights import Facts, Flights, batch_work, key_of, settled, work
from lib.replicas.replica import Replica
from lib.replicas.router import Key, Router
from lib.text_to_image.engine import PATIENCE
from lib.text_to_image.events import Done, Failed, Loading, Queued, Step
from lib.text_to_image.queue import FairQueue
from lib.text_to_image.ticket import Ticket

MAX_REPLAYS = 3
LOOK_SECONDS = 0.25
LATE = 2.0  # seconds by which this loop may be late before it believes no clock: the app itself was stopped
REPLICAS_LOST = "The replica that drew it was lost, and so were three others that began it again. Please try again."


class Waiting:
    """What threads submit to and the loop takes from; ``lock`` guards all of it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.queue = FairQueue()
        self.fresh: list[Ticket] = []


class Dispatcher:
    def __init__(self, waiting: Waiting, replicas: Callable[[], list[Replica]], idle: Callable[[], None]) -> None:
        """``replicas`` are those of the back end now; ``idle`` is called whenever nothing is under way."""
        self._waiting, self._replicas, self._idle = waiting, replicas, idle
        self.flights, self.facts, self._router = Flights(), Facts(), Router()
        self.again: deque[Ticket] = deque()
        self._losses: WeakKeyDictionary[Ticket, int] = WeakKeyDictionary()
        self._since, self._rate, self._done = time.monotonic(), 0.0, 0.0

    # -- what replicas tell -----------------------------------------------------------------------

    def beat(self, replica: Replica, message: dict[str, Any]) -> None:
        known = replica.usable, replica.models
        replica.note(message)
        self.facts |= replica.models
        figures.replay(message.get("figures", []))
        if (replica.usable, replica.models) != known:
            self.dispatch()

    def event(self, replica: Replica, head: dict[str, Any], blob: bytes) -> None:
        flight, now = self.flights.get(head["order"]), time.monotonic()
        if flight is None:  # cancelled, or begun again elsewhere
            return
        event = messages.decode(head, blob, flight.preview)
        replica.moved = now
        if isinstance(event, Step):
            steps = flight.left - (event.steps - event.step)
            if steps > 0:
                self._done += work(flight.ticket.request, steps)
                tick = (now - flight.heard) / steps
                replica.tick = tick if replica.tick is None else 0.8 * replica.tick + 0.2 * tick
            flight.left, flight.preview, flight.heard = event.steps - event.step, event.preview, now
        elif isinstance(event, Queued):
            flight.heard = now
        if isinstance(event, Done | Failed):
            self.flights.pop(flight.number)
        flight.ticket.emit(event)
        if isinstance(event, Done | Failed):
            self.dispatch()

    def lost(self, replica: Replica, why: str) -> None:
        flights = self.flights.of(replica)
        log.event("replica_lost", logging.WARNING, replica=replica.name, why=why, requests=len(flights))
        replica.leave()
        for flight in flights:
            self._again(flight.number)
        self.dispatch()

    def dropped(self, replica: Replica, number: int) -> None:
        self._again(number)
        self.dispatch()

    def _again(self, number: int) -> None:
        """Replay: the seed is in the request, so it will be the same picture."""
        with self._waiting.lock:  # whoever drains never finds it nowhere
            flight = self.flights.pop(number)
            if flight is None or flight.ticket.ended:
                return
            ticket = flight.ticket
            losses = self._losses[ticket] = self._losses.get(ticket, 0) + 1
            if losses <= MAX_REPLAYS:
                self.again.append(ticket)
        if losses > MAX_REPLAYS:
            ticket.emit(Failed(GenerationFailed(REPLICAS_LOST)))
            return
        metrics.REPLAYS.inc()
        ticket.emit(Queued(1, None))

    def cancelled(self, ticket: Ticket) -> None:
        flight = self.flights.with_ticket(ticket)
        if flight is not None:
            self.flights.pop(flight.number)
            flight.replica.cancel(flight.number)
        self.dispatch()

    # -- what replicas get ------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Sends what fits now."""
        with self._waiting.lock:  # sending never waits
            fresh, self._waiting.fresh = self._waiting.fresh, []
            for ticket in fresh:
                self._router.note(key_of(ticket.request), work(ticket.request), time.monotonic())
            left: dict[Key, float] = defaultdict(float)
            for ticket in self._waiting.queue.order():
                left[key_of(ticket.request)] += work(ticket.request)
            self._send_again(left)
            self._send_waiting(left)
        if not self.flights and not self.again:
            self._idle()

    def _send_again(self, left: dict[Key, float]) -> None:
        for ticket in list(self.again):
            replica = None if ticket.ended else self._choose(ticket, left)
            if ticket.ended or replica is not None:
                self.again.remove(ticket)
            if replica is not None:
                self._send(ticket, replica)

    def _send_waiting(self, left: dict[Key, float]) -> None:
        found: dict[Ticket, Replica] = {}
        full: set[Key] = set()

        def accept(ticket: Ticket) -> bool:
            """Whether it leaves the queue. Who has waited long and does not fit keeps later ones out."""
            try:
                ticket.request = settled(ticket.request, self.facts)
            except WorkbenchError as error:
                ticket.emit(Failed(error))
                return True
            key = key_of(ticket.request)
            replica = None if key in full else self._choose(ticket, left)
            if replica is not None:
                found[ticket] = replica
            elif time.monotonic() - ticket.created > PATIENCE:
                full.add(key)
            return replica is not None

        while (ticket := self._waiting.queue.pop(accept)) is not None:
            if not ticket.ended:
                left[key_of(ticket.request)] -= work(ticket.request)
                self._send(ticket, found[ticket])

    def _choose(self, ticket: Ticket, left: dict[Key, float]) -> Replica | None:
        request, key = ticket.request, key_of(ticket.request)
        usable = {replica.number: replica for replica in self._replicas() if replica.usable}
        place = self._router.choose(
            key,
            [self.flights.place(replica) for replica in usable.values()],
            lambda place: self.flights.fits(usable[place.number], request, self.facts),
            waiting=left[key],
            batch=batch_work(request, self.facts),
        )
        return None if place is None else usable[place.number]

    def _send(self, ticket: Ticket, replica: Replica) -> None:
        flight = self.flights.add(ticket, replica)
        if len(self.flights.of(replica)) == 1:
            replica.moved = time.monotonic()  # it stood still because it had nothing to do
        ticket.account.replica = replica.name
        origin = ticket.account.origin
        replica.send(flight.number, ticket.request, ticket.watch, (origin.id, origin.door))

    # -- now and then -----------------------------------------------------------------------------

    async def watch(self) -> None:
        """Gives up replicas that are ill, and tells those that wait how it goes."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            for replica in self._replicas():
                if now - last > LOOK_SECONDS + LATE:
                    replica.heard = replica.moved = now
                elif why := replica.illness(now, busy=bool(self.flights.of(replica))):
                    self._give_up(replica, why)
            seconds, last = now - last, now
            self._rate, self._done = 0.95 * self._rate + 0.05 * self._done / seconds, 0.0
            try:
                self.dispatch()
                self._tell()
            except Exception:  # the next look may do better; without any, nobody would notice a lost replica
                logging.getLogger(__name__).exception("the dispatcher broke")

    def _give_up(self, replica: Replica, why: str) -> None:
        if replica.alive:
            self.lost(replica, why)
        replica.heard = replica.moved = time.monotonic()
        replica.give_up()

    def _tell(self) -> None:
        with self._waiting.lock:
            waiting = list(self._waiting.queue.order())
        replicas = self._replicas()
        if not any(replica.usable for replica in replicas):
            stage = next((r.status["stage"] for r in replicas if r.status.get("stage")), "starting")
            for ticket in [*self.again, *waiting]:
                ticket.emit(Loading(stage, time.monotonic() - self._since))
            return
        self._since = time.monotonic()
        ahead = sum(work(flight.ticket.request, flight.left) for flight in self.flights.all())
        for place, ticket in enumerate(waiting):
            ahead += work(ticket.request)
            ticket.emit(Queued(place + 1, ahead / self._rate if self._rate else None))

    def demand(self) -> float:
        """How many replicas' batches are, or would be, full of what runs and waits."""
        with self._waiting.lock:
            waiting = [ticket.request for ticket in self._waiting.queue.order()]
        requests = waiting + [t.request for t in list(self.again)] + [f.ticket.request for f in self.flights.all()]
        return sum(work(request) / batch_work(request, self.facts) for request in requests)

    def under_way(self) -> Counter[str]:
        return Counter(flight.key[0] for flight in self.flights.all()) + Counter(t.request.model for t in list(self.again))

    def rows(self) -> int:
        return self.flights.rows()
