"""One thread that turns waiting tickets into pictures; everything else only submits and listens.

Between two ticks the thread drops what was cancelled and lets waiting rows join. Every model and
picture size has a group of its own; groups take turns, so a large picture slows a small one but
never stops it. A few lines over 300, so that all that the thread and its callers share is read in one place.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Any

from lib.errors import GenerationFailed, InvalidValue, ModelUnavailable, QueueFull, WorkbenchError
from lib.settings import Settings
from lib.text_to_image import safety
from lib.text_to_image.account import refusals
from lib.text_to_image.events import Failed, Loading, Queued
from lib.text_to_image.group import Group
from lib.text_to_image.models import Catalogue, Model
from lib.text_to_image.queue import FairQueue
from lib.text_to_image.request import Request
from lib.text_to_image.shelf import Shelf
from lib.text_to_image.ticket import Ticket

log = logging.getLogger(__name__)

# Seconds for which a request that cannot start yet (its model is not in memory, it needs two rows
# and one is free) lets others go first. Then they wait, so that nobody is kept out for ever.
PATIENCE = 10.0
MAX_GROUPS = 8
STOPPING = "The server is being stopped or replaced. Please try again in a moment."
ENDED = "The engine has ended. Whoever runs this app finds why in its log; starting the app again helps."

Key = tuple[str, int, int]


class Engine:
    """``submit`` a request, read its ticket. ``start`` loads the default model in the background."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.catalogue = Catalogue(settings)
        self._lock = threading.RLock()
        self._work = threading.Condition(self._lock)
        self._queue = FairQueue()
        self._groups: dict[Key, Group] = {}
        self._shelf = Shelf(self.catalogue, settings, self._wake)
        self._changed = True
        self._closed = False
        self._draining, self._drained = False, False  # no new requests; and nothing under way any more
        self._ended = False  # the thread is gone though nobody closed the engine
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Idempotent."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="text-to-image engine")
                self._thread.start()
                self._shelf.want(self.catalogue.default, set())

    def close(self) -> None:
        """Cancels whatever waits or runs, and waits for the thread."""
        with self._work:
            self._closed = True
            self._work.notify_all()
        if self._thread:
            self._thread.join(timeout=60)
        self._shelf.close()
        with self._lock:
            left = list(self._queue.order()) + [t for g in self._groups.values() for t in g.tickets.values()]
        for ticket in left:
            ticket.cancel()

    def drain(self, seconds: float) -> bool:
        """Takes no request any more, tells those that wait, and lets running pictures end, at most ``seconds`` long.

        Returns whether all did. From another thread than the engine's.
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
        """Raises QueueFull, InvalidValue or ModelUnavailable at once; later trouble is an event."""
        with refusals(request, self.catalogue.names, self.catalogue.default):
            return self._submit(request, owner, watch)

    def _submit(self, request: Request, owner: str, watch: bool) -> Ticket:
        source = self.catalogue.choose(request.model)
        self.catalogue.loras.check(request.loras)
        if request.steps > self.settings.max_steps:
            raise InvalidValue("steps", request.steps, f"1 to {self.settings.max_steps} here")
        model = self._shelf.get(source.name)
        request = request.settle(model=source.name)
        ticket = Ticket(model.settle(request) if model else request, owner=owner, watch=watch)
        ticket.on_cancel = lambda: self._forget(ticket)
        with self._work:
            if self._closed:
                raise ModelUnavailable("The engine is shut down.")
            if self._ended:
                raise ModelUnavailable(ENDED)
            if self._draining:
                raise ModelUnavailable(STOPPING)
            if len(self._queue) >= self.settings.queue_size:
                raise QueueFull(len(self._queue))
            self._queue.push(self._key(ticket.request), ticket)
        self._wake()
        return ticket

    @property
    def ready(self) -> bool:
        """Some model is loaded, and there is a thread to run it."""
        return not self._ended and self._shelf.current is not None

    def status(self) -> dict[str, Any]:
        """What ``GET /healthz`` tells."""
        with self._lock:
            model = self._shelf.current
            failed = self._ended or (not model and self._shelf.failure and not self._shelf.loading)
            return {
                "status": "failed" if failed else "ready" if model else "loading",
                "stage": self._shelf.stage if self._shelf.loading else "",
                "error": ENDED if self._ended else "" if model else self._shelf.failure,
                "model": model.name if model else self.catalogue.default,
                "device": str(model.device) if model else None,
                "dtype": str(model.dtype).removeprefix("torch.") if model else None,
                "queue_length": len(self._queue),
                "rows_in_batch": sum(g.batch.width for g in self._groups.values()),
                "safety_checker": safety.state(
                    self.settings.safety_checker, model.name if model else "", model.safety if model else None
                ),
            }

    def loaded(self) -> list[Model]:
        """The models in memory now."""
        return self._shelf.all()

    def under_way(self) -> dict[str, dict[str, int]]:
        """Requests ``running`` and ``waiting``, by model."""
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
                    self._turn()
                except Exception as error:
                    # Groups catch what breaks in them, so nobody knows whose fault it is: all are told, and the
                    # next ones find an engine as it was at its start.
                    log.exception("a turn of the engine broke")
                    self._end_all(GenerationFailed(f"The engine broke ({type(error).__name__}). Please try again."))
        finally:
            with self._lock:
                self._ended, self._drained = not self._closed, True
                self._work.notify_all()
            if self._ended:
                self._end_all(ModelUnavailable(ENDED))

    def _wait(self) -> bool:
        """Until there is something to do; False once the engine is closed."""
        with self._work:
            if self._draining and not self._groups:
                self._drained = True
                self._work.notify_all()
            # where something is missing it looks again now and then: a failed load is tried once more
            waits = len(self._queue) or not self.ready
            self._work.wait_for(lambda: self._closed or self._changed or self._groups, timeout=1.0 if waits else None)
            self._changed = False
            return not self._closed

    def _turn(self) -> None:
        self._drop_cancelled()
        self._shelf.keep_default()
        self._admit()
        self._tick()
        self._tell_queue()

    def _end_all(self, error: WorkbenchError) -> None:
        with self._lock:
            tickets = list(self._queue.order()) + [t for g in self._groups.values() for t in g.tickets.values()]
            groups, self._groups, self._queue = list(self._groups.values()), {}, FairQueue()
        for ticket in tickets:
            with suppress(Exception):  # one that cannot be told keeps nobody else waiting
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
        # Nothing in ``_run`` may still hold a group after this: its model could not leave the memory.
        with self._lock:
            self._groups = {key: group for key, group in self._groups.items() if group.tickets}

    def _admit(self) -> None:
        full: set[Key] = set()
        blocked = False

        def accept(ticket: Ticket) -> bool:
            """Whether it leaves the queue now, to join a group or because it failed.

            Who has waited long and does not fit keeps later ones out, so room is made for it.
            """
            nonlocal blocked
            late = time.monotonic() - ticket.created > PATIENCE
            try:
                model = self._shelf.get(ticket.request.model)
                if model is None:
                    wanted = self._shelf.want(ticket.request.model, {key[0] for key in self._groups})
                    blocked = blocked or (late and not wanted and not self._shelf.loading)
                    return False
                ticket.request = model.settle(ticket.request)
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
                # a pipeline that is not ours to split draws one picture at a time, whatever its size
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
            model = self._shelf.get(ticket.request.model)
            assert model is not None
            group = self._groups.get(key) or Group(model, ticket.request, self.settings)
            group.join(ticket)
        except WorkbenchError as error:
            ticket.emit(Failed(error))
            return
        except Exception as error:  # it is in no queue and in no group any more: only here can it be told
            log.exception("a ticket could not join", extra={"request": ticket.account.origin.id})
            ticket.emit(Failed(GenerationFailed(f"The model broke on this request ({type(error).__name__}).")))
            return
        with self._lock:
            self._groups[key] = group

    def _tell_queue(self) -> None:
        with self._lock:
            waiting = list(self._queue.order())
        for place, ticket in enumerate(waiting):
            if ticket.request.model == self._shelf.loading:
                ticket.emit(Loading(self._shelf.stage, time.monotonic() - self._shelf.since))
                continue
            if missing := self._shelf.missing_lora(ticket.request):
                ticket.emit(Loading(f"reading the LoRA {missing}", time.monotonic() - ticket.created))
                continue
            group = self._groups.get(self._key(ticket.request))
            seconds = group.seconds_to_go(place, ticket.request.steps_run, len(self._groups)) if group else None
            ticket.emit(Queued(place + 1, seconds))

    @staticmethod
    def _key(request: Request) -> Key:
        return request.model, request.width, request.height
