"""The engine: one thread that turns waiting tickets into pictures. Callers submit requests and listen for events.

Between steps the thread drops cancelled requests and lets waiting ones join. Each model and
picture size has its own group; groups take turns, so a large picture slows a small one but
never stops it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Any

from lib.errors import GenerationFailed, ModelUnavailable, QueueFull, WorkbenchError
from lib.settings import Settings
from lib.text_to_image import safety
from lib.text_to_image.events import Failed, Loading, Queued
from lib.text_to_image.group import Group
from lib.text_to_image.model_cache import ModelCache
from lib.text_to_image.models import Catalogue, Model
from lib.text_to_image.queue import FairQueue
from lib.text_to_image.request import Request
from lib.text_to_image.request_metrics import refusals
from lib.text_to_image.ticket import Ticket

log = logging.getLogger(__name__)

# Seconds for which a request that cannot start yet (its model is not in memory, or it needs two rows
# and one is free) lets later requests overtake it. After that they wait, so that no request starves.
PATIENCE = 10.0
MAX_GROUPS = 8
CLOSED = "The engine is shut down."
STOPPING = "The server is being stopped or replaced. Please try again in a moment."
ENDED = "The engine has ended. The server's log has the reason; restarting the app helps."

Key = tuple[str, int, int]


class Engine:
    """``submit`` returns a ticket with the events of a request. ``start`` loads the default model in the background."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.catalogue = Catalogue(settings)
        self._lock = threading.RLock()
        self._work = threading.Condition(self._lock)
        self._queue = FairQueue()
        self._groups: dict[Key, Group] = {}
        self._models = ModelCache(self.catalogue, settings, self._wake)
        self._changed = True
        self._closed = False
        self._draining, self._drained = False, False  # new requests are refused; no request is running any more
        self._ended = False  # the thread ended although ``close`` was not called
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Idempotent."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="text-to-image engine")
                self._thread.start()
                self._models.start_loading(self.catalogue.default, set())

    def close(self) -> None:
        """Cancel all requests and wait for the thread."""
        with self._work:
            self._closed = True
            self._work.notify_all()
        if self._thread:
            self._thread.join(timeout=60)
        self._models.close()
        with self._lock:
            open_tickets = list(self._queue.order()) + [t for g in self._groups.values() for t in g.tickets.values()]
        for ticket in open_tickets:
            ticket.cancel()

    def drain(self, seconds: float) -> bool:
        """Reject new requests, fail the waiting ones, and wait at most ``seconds`` for the running ones.

        Returns whether all of them ended. Must not be called from the engine's thread.
        """
        with self._work:
            self._draining, waiting, self._queue = True, list(self._queue.order()), FairQueue()
            if self._thread is None or self._ended or self._closed:
                self._drained = True
        for ticket in waiting:
            ticket.emit(Failed(ModelUnavailable(STOPPING)))
        self._wake()
        with self._work:
            return self._work.wait_for(lambda: self._drained, timeout=seconds)

    def submit(self, request: Request, *, owner: str = "", watch: bool = True) -> Ticket:
        """Submit a request. Raises QueueFull, InvalidValue or ModelUnavailable; later errors arrive as ``Failed``."""
        with refusals(request, self.catalogue.names, self.catalogue.default):
            return self._submit(request, owner, watch)

    def _submit(self, request: Request, owner: str, watch: bool) -> Ticket:
        source = self.catalogue.check(request)
        model = self._models.get(source.name)
        request = request.with_seed(model=source.name)
        ticket = Ticket(model.resolve(request) if model else request, owner=owner, watch=watch)
        ticket.on_cancel = lambda: self._forget(ticket)
        with self._work:
            reason = CLOSED if self._closed else ENDED if self._ended else STOPPING if self._draining else ""
            if reason:
                raise ModelUnavailable(reason)
            if len(self._queue) >= self.settings.queue_size:
                raise QueueFull(len(self._queue))
            self._queue.push(self._key(ticket.request), ticket)
        self._wake()
        return ticket

    @property
    def ready(self) -> bool:
        """Whether a model is loaded and the engine's thread is running."""
        return not self._ended and self._models.current is not None

    def status(self) -> dict[str, Any]:
        """Return the fields of ``GET /healthz``."""
        with self._lock:
            model = self._models.current
            checker = safety.state(self.settings.safety_checker, model.name if model else "", model and model.safety)
            failed = self._ended or (not model and self._models.failure and not self._models.loading)
            return {
                "status": "failed" if failed else "ready" if model else "loading",
                "stage": self._models.stage if self._models.loading else "",
                "error": ENDED if self._ended else "" if model else self._models.failure,
                "model": model.name if model else self.catalogue.default,
                "device": str(model.device) if model else None,
                "dtype": str(model.dtype).removeprefix("torch.") if model else None,
                "queue_length": len(self._queue),
                "rows_in_batch": sum(g.batch.num_rows for g in self._groups.values()),
                "safety_checker": checker,
            }

    def loaded(self) -> list[Model]:
        """Return the models in memory."""
        return self._models.all()

    def under_way(self) -> dict[str, dict[str, int]]:
        """Return the numbers of ``running`` and ``waiting`` requests by model."""
        with self._lock:
            running = Counter(key[0] for key, group in self._groups.items() for _ in group.tickets)
            waiting = Counter(ticket.request.model for ticket in self._queue.order())
        return {"running": dict(running), "waiting": dict(waiting)}

    # -- below: the engine's thread -------------------------------------------------------------

    def _wake(self) -> None:
        with self._work:
            self._changed = True
            self._work.notify_all()

    def _forget(self, ticket: Ticket) -> None:
        with self._work:
            self._queue.remove(ticket)
        self._wake()

    def _run(self) -> None:
        try:
            while self._wait():
                try:
                    self._run_once()
                except Exception as error:
                    # Groups catch their own errors, so the cause cannot be assigned to one request: all of them
                    # fail, and the engine starts over with empty groups and an empty queue.
                    log.exception("an iteration of the engine failed")
                    self._fail_all(GenerationFailed(f"The engine failed ({type(error).__name__}). Please try again."))
        finally:
            with self._lock:
                self._ended, self._drained = not self._closed, True
                self._work.notify_all()
            if self._ended:
                self._fail_all(ModelUnavailable(ENDED))

    def _wait(self) -> bool:
        """Block until there is work. Returns False once the engine is closed."""
        with self._work:
            if self._draining and not self._groups:
                self._drained = True
                self._work.notify_all()
            # wakes up once a second while a model is missing, so that a failed load is retried
            waits = len(self._queue) or not self.ready
            self._work.wait_for(lambda: self._closed or self._changed or self._groups, timeout=1.0 if waits else None)
            self._changed = False
            return not self._closed

    def _run_once(self) -> None:
        self._drop_cancelled()
        self._models.reload_default()
        self._admit()
        self._tick()
        self._emit_positions()

    def _fail_all(self, error: WorkbenchError) -> None:
        with self._lock:
            tickets = list(self._queue.order()) + [t for g in self._groups.values() for t in g.tickets.values()]
            groups, self._groups, self._queue = list(self._groups.values()), {}, FairQueue()
        for ticket in tickets:
            with suppress(Exception):  # a listener that raises must not keep the others from being notified
                ticket.emit(Failed(error))
        for group in groups:
            with suppress(Exception):
                group.leave_all()

    def _drop_cancelled(self) -> None:
        for group in self._groups.values():
            group.drop_cancelled()
        self._drop_empty()

    def _tick(self) -> None:
        for group in list(self._groups.values()):
            group.tick(turns=len(self._groups))
        self._drop_empty()

    def _drop_empty(self) -> None:
        # No local variable of ``_run`` may hold a group after this, or its model would stay in memory.
        with self._lock:
            self._groups = {key: group for key, group in self._groups.items() if group.tickets}

    def _admit(self) -> None:
        full, blocked = set[Key](), False

        def accept(ticket: Ticket) -> bool:
            """Return whether the ticket leaves the queue now, to join a group or because it failed.

            A ticket that does not fit and has waited for ``PATIENCE`` seconds blocks later ones until it does.
            """
            nonlocal blocked
            late = time.monotonic() - ticket.created > PATIENCE
            try:
                model = self._models.get(ticket.request.model)
                if model is None:
                    loading_started = self._models.start_loading(ticket.request.model, {key[0] for key in self._groups})
                    blocked = blocked or (late and not loading_started and not self._models.loading)
                    return False
                ticket.request = model.resolve(ticket.request)
                if not model.adapters.ready(ticket.request.loras, self._wake):
                    return False
            except WorkbenchError as error:
                ticket.emit(Failed(error))
                return True
            key = self._key(ticket.request)
            group = self._groups.get(key)
            if group is not None:
                room = group.room(ticket.request)
                if late and not room:
                    full.add(key)
            else:
                # without a family the model runs one request at a time, whatever its size
                alone = model.family is None and any(other[0] == model.name for other in self._groups)
                room = len(self._groups) < MAX_GROUPS and not alone
                blocked = blocked or (late and not room)
            return room and not blocked and key not in full

        while True:
            with self._lock:
                ticket = self._queue.pop(accept)
            if ticket is None:
                return
            if not ticket.ended:
                self._join(ticket)

    def _join(self, ticket: Ticket) -> None:
        key = self._key(ticket.request)
        try:
            model = self._models.get(ticket.request.model)
            assert model is not None
            group = self._groups.get(key) or Group(model, ticket.request, self.settings)
            group.join(ticket)
        except WorkbenchError as error:
            ticket.emit(Failed(error))
            return
        except Exception as error:  # the ticket is in no queue and no group any more, so it must be notified here
            log.exception("a ticket could not join", extra={"request": ticket.metrics.origin.id})
            ticket.emit(Failed(GenerationFailed(f"The model failed on this request ({type(error).__name__}).")))
            return
        with self._lock:
            self._groups[key] = group

    def _emit_positions(self) -> None:
        with self._lock:
            waiting = list(self._queue.order())
        for position, ticket in enumerate(waiting):
            if ticket.request.model == self._models.loading:
                ticket.emit(Loading(self._models.stage, time.monotonic() - self._models.since))
                continue
            if missing := self._models.missing_lora(ticket.request):
                ticket.emit(Loading(f"reading the LoRA {missing}", time.monotonic() - ticket.created))
                continue
            group = self._groups.get(self._key(ticket.request))
            seconds = group.seconds_to_go(position, ticket.request.steps_run, len(self._groups)) if group else None
            ticket.emit(Queued(position + 1, seconds))

    @staticmethod
    def _key(request: Request) -> Key:
        return request.model, request.width, request.height
