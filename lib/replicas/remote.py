"""An engine with the interface of ``Engine`` whose pictures are made by replicas.

The queue stays in this process. The setting REPLICAS chooses the back end (docs/scale.md).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from contextlib import suppress
from typing import Any

from lib.errors import ModelUnavailable, QueueFull
from lib.replicas.address import parse
from lib.replicas.dispatcher import Dispatcher, Waiting
from lib.replicas.fleet_manager import FleetManager
from lib.replicas.flights import key_of, with_resolved_size
from lib.replicas.make_fleet import make_fleet
from lib.replicas.replica import Replica
from lib.settings import Settings
from lib.text_to_image.engine import CLOSED, STOPPING
from lib.text_to_image.events import Failed
from lib.text_to_image.models import Catalogue
from lib.text_to_image.queue import FairQueue
from lib.text_to_image.request import Request
from lib.text_to_image.request_metrics import refusals
from lib.text_to_image.ticket import Ticket


class RemoteEngine:
    """Has the interface of ``Engine``, and ``update``, which replaces the replicas one by one."""

    def __init__(self, settings: Settings) -> None:
        """Raises InvalidValue if REPLICAS requires Ray and Ray is not installed."""
        self.settings, self.catalogue = settings, Catalogue(settings)
        self._address = parse(settings.replicas)
        self._fleet = make_fleet(self._address, settings)
        self._waiting = Waiting()
        self._idle = threading.Condition(self._waiting.lock)
        self._dispatcher = Dispatcher(self._waiting, lambda: self._fleet.replicas, self._notify)
        self._manager = FleetManager(self._fleet, self._dispatcher, self._address)
        self._closed = self._draining = False
        self._updating = threading.Lock()
        self._failure = ""
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None
        self._stop = asyncio.Event()

    def start(self) -> None:
        """Idempotent."""
        with self._waiting.lock:
            if self._thread is None:
                # the thread also starts the processes, since they end with the thread that started them
                self._thread = threading.Thread(target=self._run, daemon=True, name="replicas")
                self._thread.start()

    def close(self) -> None:
        """Cancel all requests and stop the replicas."""
        with self._waiting.lock:
            self._closed = True
            open_tickets = list(self._waiting.queue.order())
        open_tickets += [flight.ticket for flight in self._dispatcher.flights.all()] + list(self._dispatcher.replays)
        for ticket in open_tickets:
            ticket.cancel()
        if self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(timeout=60)

    def drain(self, seconds: float) -> bool:
        """Reject new requests, fail the waiting ones, and wait at most ``seconds`` for those on replicas.

        Returns whether all of them ended.
        """
        with self._waiting.lock:
            self._draining, waiting = True, list(self._waiting.queue.order())
            self._waiting.queue = FairQueue()
        for ticket in waiting:
            ticket.emit(Failed(ModelUnavailable(STOPPING)))
        with self._idle:
            return self._idle.wait_for(self._is_idle, timeout=seconds)

    def update(self) -> None:
        """Replace the replicas one after another, and return when all are replaced. No request is lost.

        A second call during an update does nothing. Raises ModelUnavailable if a new replica does not start; the
        remaining ones are then not replaced.
        """
        if self._updating.acquire(blocking=False):
            try:
                asyncio.run_coroutine_threadsafe(self._manager.update(), self._loop).result()
            finally:
                self._updating.release()

    def submit(self, request: Request, *, owner: str = "", watch: bool = True) -> Ticket:
        """Submit a request. Raises QueueFull, InvalidValue or ModelUnavailable; later errors arrive as ``Failed``."""
        with refusals(request, self.catalogue.names, self.catalogue.default):
            return self._submit(request, owner, watch)

    def _submit(self, request: Request, owner: str, watch: bool) -> Ticket:
        source = self.catalogue.check(request)
        # the seed is drawn here, so that a replay on another replica makes the same picture
        request = with_resolved_size(request.with_seed(model=source.name), self._dispatcher.facts)
        ticket = Ticket(request, owner=owner, watch=watch)
        ticket.on_cancel = lambda: self._forget(ticket)
        with self._waiting.lock:
            if self._closed:
                raise ModelUnavailable(CLOSED)
            if self._failure:
                raise ModelUnavailable(self._failure)
            if self._draining:
                raise ModelUnavailable(STOPPING)
            if len(self._waiting.queue) >= self.settings.queue_size:
                raise QueueFull(len(self._waiting.queue))
            self._waiting.queue.push(key_of(request), ticket)
            self._waiting.fresh.append(ticket)
        self._call(self._dispatcher.dispatch)
        return ticket

    @property
    def ready(self) -> bool:
        """Whether any replica has a model loaded."""
        return any(replica.ready for replica in self._fleet.replicas)

    def status(self) -> dict[str, Any]:
        """Return the fields of ``GET /healthz``: those of ``Engine.status``, and a list of the replicas."""
        replicas = list(self._fleet.replicas)
        best = max(replicas, key=lambda one: (one.ready, one.alive, -one.number), default=None)
        best_status = best.status if best else {}
        failed = self._failure or (all(r.status["status"] == "failed" for r in replicas) and best_status.get("error", ""))
        with self._waiting.lock:
            waiting = len(self._waiting.queue)
        return {
            "status": "failed" if failed else "ready" if self.ready else "loading",
            "stage": "" if failed else best_status.get("stage", ""),
            "error": failed or "",
            "model": best_status.get("model") or self.catalogue.default,
            "device": best_status.get("device"),
            "dtype": best_status.get("dtype"),
            "queue_length": waiting,
            "rows_in_batch": self._dispatcher.rows(),
            "safety_checker": best_status.get("safety_checker"),
            "replicas": [self._describe(replica) for replica in replicas],
        }

    @staticmethod
    def _describe(replica: Replica) -> dict[str, Any]:
        state = replica.status["status"] if replica.alive else "starting" if replica.starting else "lost"
        rows, queue = (replica.status.get(name, 0) for name in ("rows_in_batch", "queue_length"))
        return {"name": replica.name, "alive": replica.alive, "status": state, "rows": rows, "queue": queue}

    def under_way(self) -> dict[str, dict[str, int]]:
        """Return the numbers of requests on replicas (``running``) and ``waiting``, by model."""
        with self._waiting.lock:
            waiting = Counter(ticket.request.model for ticket in self._waiting.queue.order())
        return {"running": dict(self._dispatcher.under_way()), "waiting": dict(waiting)}

    # -- below: the loop's thread, and the way to it --------------------------------------------------

    def _call(self, act: Any, *values: Any) -> None:
        if self._thread is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # the loop has just been closed
                self._loop.call_soon_threadsafe(act, *values)

    def _forget(self, ticket: Ticket) -> None:
        with self._waiting.lock:
            self._waiting.queue.remove(ticket)
        self._call(self._dispatcher.cancelled, ticket)

    def _notify(self) -> None:
        with self._idle:
            self._idle.notify_all()

    def _is_idle(self) -> bool:
        return not self._dispatcher.flights and not self._dispatcher.replays

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._main())
        self._loop.close()

    async def _main(self) -> None:
        watch = asyncio.create_task(self._dispatcher.watch())
        try:
            await self._fleet.start(self._dispatcher)
        except Exception as error:  # raised by Ray: no cluster or no free node; the page stays up and shows it
            logging.getLogger(__name__).exception("the replicas could not be started")
            self._fail(f"The replicas could not be started ({type(error).__name__}); the app's log has the reason.")
        scale = asyncio.create_task(self._manager.scale())
        await self._stop.wait()
        await asyncio.sleep(0.05)  # let pending cancellations be sent
        watch.cancel()
        scale.cancel()
        await self._fleet.close()

    def _fail(self, words: str) -> None:
        with self._waiting.lock:
            self._failure, waiting, self._waiting.queue = words, list(self._waiting.queue.order()), FairQueue()
        for ticket in waiting:
            ticket.emit(Failed(ModelUnavailable(words)))
