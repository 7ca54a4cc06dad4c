"""Engine for hardware that assigns a GPU per call (ZeroGPU), with the interface of ``Engine`` and the same ``Batch``.

Each call of a ``@spaces.GPU`` function runs in its own process, so visitors share no batch: a call has the rows of one
request.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Iterator
from typing import Any

from lib import metrics
from lib.errors import ModelUnavailable, QueueFull, WorkbenchError
from lib.settings import Settings
from lib.text_to_image import safety
from lib.text_to_image.engine import STOPPING
from lib.text_to_image.events import Event, Failed, Queued, Step
from lib.text_to_image.group import finish
from lib.text_to_image.model_loading import load
from lib.text_to_image.models import Catalogue, Model
from lib.text_to_image.request import Request
from lib.text_to_image.request_metrics import refusals
from lib.text_to_image.ticket import Ticket


class PerCallEngine:
    """``gpu_decorator``: ``spaces.GPU``. Models are moved to the GPU before the page is served, as ZeroGPU requires."""

    def __init__(self, settings: Settings, gpu_decorator: Any) -> None:
        self.settings, self.catalogue = settings, Catalogue(settings)
        names = [self.catalogue.default, *(n for n in self.catalogue.names if n != self.catalogue.default)]
        self._models: dict[str, Model] = {}
        for name in names[: settings.loaded_models]:
            with metrics.LOAD_SECONDS.labels(name).time():
                self._models[name] = load(self.catalogue.choose(name), settings)
        self.catalogue.sources = {n: s for n, s in self.catalogue.sources.items() if n in self._models}
        self._generate = gpu_decorator(self._generate_events)
        self._waiting = 0
        self._draining = False
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)

    def start(self) -> None:
        """Do nothing, as the models are already loaded."""

    def close(self) -> None:
        """Do nothing, as running calls end by themselves."""

    def drain(self, seconds: float) -> bool:
        """Reject new requests and wait at most ``seconds`` for running calls. Returns whether all of them ended."""
        with self._ended:
            self._draining = True
            return self._ended.wait_for(lambda: not self._waiting, timeout=seconds)

    ready = True

    def under_way(self) -> dict[str, dict[str, int]]:
        """Count all calls as running on the default model, since ZeroGPU does not report which ones it queues."""
        return {"running": {self.catalogue.default: self._waiting}, "waiting": {}}

    def status(self) -> dict[str, Any]:
        model = self._models[self.catalogue.default]
        return {
            "status": "ready",
            "stage": "",
            "error": "",
            "model": model.name,
            "device": "zero-gpu",
            "dtype": str(model.dtype).removeprefix("torch."),
            "queue_length": self._waiting,
            "rows_in_batch": 0,
            "safety_checker": safety.state(self.settings.safety_checker, model.name, model.safety),
        }

    def submit(self, request: Request, *, owner: str = "", watch: bool = True) -> Ticket:
        with refusals(request, self.catalogue.names, self.catalogue.default):
            return self._submit(request, owner, watch)

    def _submit(self, request: Request, owner: str, watch: bool) -> Ticket:
        model = self._models[self.catalogue.check(request).name]
        ticket = Ticket(model.resolve(request.with_seed()), owner=owner, watch=watch)
        with self._lock:
            if self._draining:
                raise ModelUnavailable(STOPPING)
            if self._waiting >= self.settings.queue_size:
                raise QueueFull(self._waiting)
            self._waiting += 1
        ticket.emit(Queued(self._waiting, None))
        # ZeroGPU reads the visitor's quota from the context of the request
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._follow, ticket), daemon=True).start()
        return ticket

    def _follow(self, ticket: Ticket) -> None:
        try:
            # before the GPU is assigned, so that its time is not spent on a download
            self.catalogue.loras.fetch(ticket.request.loras)
            events = self._generate(ticket.request, ticket.watch)
            try:
                for event in events:
                    if ticket.cancelled:
                        break
                    ticket.emit(event)
            finally:
                events.close()
        except Exception as error:  # ZeroGPU's own errors (no quota, no GPU in time) explain themselves
            ticket.emit(Failed(error if isinstance(error, WorkbenchError) else WorkbenchError(str(error)[:200])))
        finally:
            with self._ended:
                self._waiting -= 1
                self._ended.notify_all()

    def _generate_events(self, request: Request, watch: bool) -> Iterator[Event]:
        """Generate in the process that has the GPU. The events are pickled on their way back."""
        from lib.text_to_image.batch import Batch
        from lib.text_to_image.solo import SoloBatch

        start_time, model = time.monotonic(), self._models[request.model]
        batch = Batch(model, bucket=2 if self.settings.reproducible else 0) if model.family else SoloBatch(model)
        try:
            row = batch.join(request)
        except WorkbenchError as error:  # only the class name of an exception would arrive
            yield Failed(error)
            return
        while not batch.step():
            image = batch.previews([row])[0] if watch else None
            yield Step(row.step, row.steps, image, None)
        if row.error:
            yield Failed(row.error)
            return
        yield finish(model, row, batch.decode([row])[0], time.monotonic() - start_time)
