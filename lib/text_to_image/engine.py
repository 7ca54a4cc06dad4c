"""One thread that turns waiting tickets into pictures; everything else only submits and listens.

Between two ticks of its batches the thread drops what was cancelled, lets waiting rows join, and
decodes a few finished pictures. Every model and picture size has a batch of its own; they take
turns, so a large picture slows a small one but never stops it.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from lib.errors import GenerationFailed, InvalidValue, ModelUnavailable, QueueFull, WorkbenchError
from lib.settings import Settings
from lib.text_to_image.events import Done, Failed, Loading, Queued, Step
from lib.text_to_image.models import Catalogue, Model
from lib.text_to_image.queue import FairQueue
from lib.text_to_image.request import Request
from lib.text_to_image.shelf import Shelf
from lib.text_to_image.ticket import Ticket

log = logging.getLogger(__name__)

# How long a request for a model that is not in memory lets others go first before the engine
# stops taking those in, so that a popular model cannot keep a rare one out for ever.
PATIENCE = 10.0
# Latent pixels in a UNet call at which more rows stop paying (docs/text_to_image.md).
ROW_BUDGET = {"cpu": 16 * 256, "cuda": 16 * 4096, "mps": 4 * 4096}
DECODE_GROUP = 4
GROUPS = 8

Key = tuple[str, int, int]


class Group:
    """The batch of one model and size, who rides in it, and what waits for the VAE."""

    def __init__(self, batch: Any, cap: int) -> None:
        self.batch, self.cap = batch, cap
        self.tickets: dict[Any, Ticket] = {}
        self.started: dict[Any, float] = {}
        self.finished: list[Any] = []
        self.tick_seconds: float | None = None

    @property
    def empty(self) -> bool:
        return not self.tickets


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
        self._end_all()

    def submit(self, request: Request, *, owner: str = "", watch: bool = True) -> Ticket:
        """Raises QueueFull, InvalidValue or ModelUnavailable at once; later trouble is an event."""
        source = self.catalogue.choose(request.model)
        if request.steps > self.settings.max_steps:
            raise InvalidValue("steps", request.steps, f"1 to {self.settings.max_steps} here")
        model = self._shelf.get(source.name)
        request = request.settle(model=source.name)
        ticket = Ticket(model.settle(request) if model else request, owner=owner, watch=watch)
        ticket.on_cancel = lambda: self._forget(ticket)
        with self._work:
            if self._closed:
                raise ModelUnavailable("The engine is shut down.")
            if len(self._queue) >= self.settings.queue_size:
                raise QueueFull(len(self._queue))
            self._queue.push((source.name, ticket.request.width, ticket.request.height), ticket)
        self._wake()
        return ticket

    @property
    def ready(self) -> bool:
        """Some model is loaded."""
        return bool(self._shelf.loaded)

    def status(self) -> dict[str, Any]:
        """What ``GET /healthz`` tells."""
        with self._lock:
            model = next(reversed(self._shelf.loaded.values()), None)
            return {
                "status": "ready" if model else ("failed" if self._shelf.failure and not self._shelf.loading else "loading"),
                "stage": self._shelf.stage if self._shelf.loading else "",
                "error": "" if model else self._shelf.failure,
                "model": model.name if model else self.catalogue.default,
                "device": str(model.device) if model else None,
                "dtype": str(model.dtype).removeprefix("torch.") if model else None,
                "queue_length": len(self._queue),
                "rows_in_batch": sum(g.batch.width for g in self._groups.values()),
            }

    # -- below: the engine's thread -------------------------------------------------------------

    def _wake(self) -> None:
        with self._work:
            self._changed = True
            self._work.notify_all()

    def _forget(self, ticket: Ticket) -> None:
        with self._work:
            self._queue.remove(ticket)
        self._wake()

    def _end_all(self) -> None:
        with self._lock:
            left = list(self._queue.order()) + [t for g in self._groups.values() for t in g.tickets.values()]
        for ticket in left:
            ticket.cancel()

    def _run(self) -> None:
        while True:
            with self._work:
                # a waiting queue looks again now and then: a failed model may be tried once more
                self._work.wait_for(
                    lambda: self._closed or self._changed or self._groups, timeout=1.0 if len(self._queue) else None
                )
                self._changed = False
                if self._closed:
                    return
                keys = list(self._groups)
            self._drop_cancelled()
            self._admit()
            for key in [*keys, *(k for k in list(self._groups) if k not in keys)]:
                group = self._groups.get(key)
                if group is not None:
                    self._guarded(key, group)
            self._tell_queue()

    def _guarded(self, key: Key, group: Group) -> None:
        """Whatever breaks here ends the requests of this group, not the engine."""
        try:
            self._tick(group)
            self._decode(group)
        except Exception as error:
            log.exception("a batch broke")
            failure = GenerationFailed(f"The batch broke ({type(error).__name__}).")
            for row, ticket in list(group.tickets.items()):
                group.batch.leave(row)
                ticket.emit(Failed(failure))
            group.tickets.clear()
        if group.empty:
            with self._lock:
                self._groups.pop(key, None)

    def _drop_cancelled(self) -> None:
        for key, group in list(self._groups.items()):
            for row, ticket in list(group.tickets.items()):
                if ticket.cancelled:
                    group.batch.leave(row)
                    group.finished = [r for r in group.finished if r is not row]
                    del group.tickets[row]
            if group.empty:
                with self._lock:
                    del self._groups[key]

    def _admit(self) -> None:
        blocked = False

        def accept(ticket: Ticket) -> bool:
            nonlocal blocked
            try:
                model = self._shelf.get(ticket.request.model)
                if model is not None and not blocked:
                    ticket.request = model.settle(ticket.request)
                    return self._room(model, ticket.request) > 0
            except WorkbenchError as error:
                ticket.emit(Failed(error))
                return True  # off the queue
            if model is None and not self._shelf.want(ticket.request.model, {k[0] for k in self._groups}):
                blocked = blocked or time.monotonic() - ticket.created > PATIENCE
            return False

        while True:
            with self._lock:
                ticket = self._queue.pop(accept)
            if ticket is None:
                return
            if not ticket.ended:
                self._join(ticket)

    def _key(self, request: Request) -> Key:
        return request.model, request.width, request.height

    def _cap(self, model: Model, request: Request) -> int:
        """UNet rows for this model and size: the setting is for the model's own size."""
        if model.encode is None:
            return 1
        area = request.width * request.height / model.size**2
        own = self.settings.max_rows or max(2, ROW_BUDGET[model.device.type] // (model.size // 8) ** 2)
        return max(2, int(own / area))

    def _room(self, model: Model, request: Request) -> int:
        group = self._groups.get(self._key(request))
        if group is None:
            return int(len(self._groups) < GROUPS)
        width = 2 if request.guided and model.encode else 1
        return max(0, min(group.cap, group.batch.limit) - group.batch.width - width + 1)

    def _join(self, ticket: Ticket) -> None:
        from lib.text_to_image.batch import Batch
        from lib.text_to_image.solo import SoloBatch

        key = self._key(ticket.request)
        model = self._shelf.get(ticket.request.model)
        assert model is not None
        group = self._groups.get(key)
        if group is None:
            cap = self._cap(model, ticket.request)
            bucket = cap if self.settings.reproducible else 0
            group = Group(Batch(model, limit=cap, bucket=bucket) if model.encode else SoloBatch(model), cap)
        try:
            row = group.batch.join(ticket.request)
        except WorkbenchError as error:
            ticket.emit(Failed(error))
            return
        except Exception as error:
            log.exception("a row could not join")
            ticket.emit(Failed(GenerationFailed(f"The model broke on this request ({type(error).__name__}).")))
            return
        group.tickets[row], group.started[row] = ticket, time.monotonic()
        with self._lock:
            self._groups[key] = group

    def _tick(self, group: Group) -> None:
        if not group.batch.rows:
            return
        began = time.monotonic()
        ended = group.batch.step()
        seconds = time.monotonic() - began
        group.tick_seconds = seconds if group.tick_seconds is None else 0.8 * group.tick_seconds + 0.2 * seconds
        for row in ended:
            if row.error:
                group.tickets.pop(row).emit(Failed(row.error))
            else:
                group.finished.append(row)
        watched = [r for r in group.batch.rows if group.tickets[r].watch]
        for row, image in zip(watched, group.batch.previews(watched), strict=True):
            to_go = row.left * group.tick_seconds * len(self._groups)
            group.tickets[row].emit(Step(row.step, row.request.steps, image, to_go))

    def _decode(self, group: Group) -> None:
        """A few pictures between two ticks, so rows under way do not wait for a long decode."""
        rows, group.finished = group.finished[:DECODE_GROUP], group.finished[DECODE_GROUP:]
        if not rows:
            return
        try:
            self._deliver(group, rows)
        except Exception:
            for row in rows:  # one by one: only the culprit fails
                try:
                    self._deliver(group, [row])
                except Exception as error:
                    log.exception("a picture could not be decoded")
                    failure = GenerationFailed(f"The picture could not be decoded ({type(error).__name__}).")
                    group.tickets.pop(row).emit(Failed(failure))

    def _deliver(self, group: Group, rows: list[Any]) -> None:
        for row, image in zip(rows, group.batch.decode(rows), strict=True):
            info = describe(group.batch.model, row.request, time.monotonic() - group.started[row])
            group.tickets.pop(row).emit(Done(image, info))
            del group.started[row]

    def _tell_queue(self) -> None:
        """Positions and times: each waiting ticket starts when the rows before it have ended."""
        with self._lock:
            waiting = list(self._queue.order())
            groups = dict(self._groups)
        loading = self._shelf.loading
        turns = max(1, len(groups))
        for position, ticket in enumerate(waiting, start=1):
            if ticket.request.model == loading:
                ticket.emit(Loading(self._shelf.stage, time.monotonic() - self._shelf.since))
                continue
            group, seconds = groups.get(self._key(ticket.request)), None
            if group and group.tick_seconds and group.batch.rows:
                ahead = sorted(r.left for r in group.batch.rows)
                rounds, place = divmod(position - 1, len(ahead))
                ticks = ahead[place] + rounds * ahead[-1] + ticket.request.steps
                seconds = ticks * group.tick_seconds * turns
            ticket.emit(Queued(position, seconds))


def describe(model: Model, request: Request, seconds: float) -> dict[str, Any]:
    """``Done.info``: everything needed to make the picture again, and how long it took."""
    import diffusers
    import torch

    return request.as_dict() | {
        "revision": model.revision,
        "seconds": round(seconds, 3),
        "device": model.device.type,
        "dtype": str(model.dtype).removeprefix("torch."),
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
    }
