"""The batch of one model and picture size, its tickets, and the rows that wait for the VAE."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from lib import metrics
from lib.errors import GenerationFailed, WorkbenchError, out_of_memory
from lib.settings import Settings
from lib.text_to_image.events import TOO_LARGE, Done, Failed, Step
from lib.text_to_image.models import Model
from lib.text_to_image.notes import notes
from lib.text_to_image.request import Request
from lib.text_to_image.ticket import Ticket

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

# Latent pixels per call of the network. The CPU's fits the 16 guided rows of the benchmark; those of accelerators are
# estimates that MAX_ROWS can override.
ROW_BUDGET = {"cpu": 32 * 256, "cuda": 16 * 4096, "mps": 4 * 4096}
DECODE_AT_ONCE = 4
# On a CPU a picture is decoded by one core: while other rows run, a finished row waits this long for a second one.
PAIR_SECONDS = 0.3
# Seconds between two previews of a row: each costs a transfer from the device.
PREVIEW_SECONDS = 0.1


def own_rows(model: Model, settings: Settings) -> int:
    """Return the maximum rows of the network at the model's trained size."""
    if model.family is None:
        return 1
    return settings.max_rows or max(2, ROW_BUDGET.get(model.device.type, ROW_BUDGET["cuda"]) // (model.size // 8) ** 2)


def rows_at(own: int, size: int, width: int, height: int) -> int:
    """Return the maximum rows at another size, for a model with ``own`` rows at its trained ``size``. 1 stays 1."""
    return own if own == 1 else max(2, int(own * size**2 / (width * height)))


def row_cap(model: Model, request: Request, settings: Settings) -> int:
    """Return the maximum rows for the request's size. The setting applies to the model's trained size."""
    if model.family is None:
        return 1
    return max(2, rows_at(own_rows(model, settings), model.size, request.width, request.height))


class Group:
    """Used by the engine's thread only."""

    def __init__(self, model: Model, request: Request, settings: Settings) -> None:
        from lib.text_to_image.batch import Batch
        from lib.text_to_image.solo import SoloBatch

        self.cap = row_cap(model, request, settings)
        bucket = self.cap if settings.reproducible else 0
        self.batch: Any = Batch(model, limit=self.cap, bucket=bucket) if model.family else SoloBatch(model)
        self.tickets: dict[Any, Ticket] = {}
        self.tick_seconds: float | None = None
        size = metrics.size_label(request.width, request.height)
        self._seconds, self._rows = (m.labels(model.name, size) for m in (metrics.TICK_SECONDS, metrics.TICK_ROWS))
        self._decoding = metrics.DECODE_SECONDS.labels(model.name)
        self._started: dict[Any, float] = {}
        self._previews: dict[Any, tuple[float, Image | None]] = {}
        self._finished: list[Any] = []
        self._waited = 0.0

    def room(self, request: Request) -> bool:
        """Return whether the request's rows fit into the batch now."""
        if len(self._finished) >= 2 * DECODE_AT_ONCE:  # one-step requests could outrun the VAE
            return False
        return self.batch.num_rows + self.batch.model.rows(request) <= min(self.cap, max(2, self.batch.limit))

    def join(self, ticket: Ticket) -> None:
        """Raises WorkbenchError if the model cannot run the request."""
        try:
            row = self.batch.join(ticket.request)
        except WorkbenchError:
            raise
        except Exception as error:
            log.exception("a row could not join", extra={"request": ticket.metrics.origin.id})
            message = f"The model failed on this request ({type(error).__name__})."
            raise GenerationFailed(TOO_LARGE if out_of_memory(error) else message) from error
        self.tickets[row], self._started[row] = ticket, time.monotonic()
        ticket.metrics.begin()

    def drop_cancelled(self) -> None:
        """Remove the rows of cancelled tickets."""
        for row, ticket in list(self.tickets.items()):
            if ticket.cancelled:
                self._leave(row)

    def tick(self, turns: int) -> None:
        """Run one step of all rows, then decode a few finished pictures. ``turns``: number of groups on the device.

        An error of the whole batch fails the requests of this group only.
        """
        try:
            self._step(turns)
            self._decode()
        except Exception as error:
            log.exception("a batch broke")
            for ticket in self.leave_all():
                ticket.emit(Failed(GenerationFailed(f"The batch failed ({type(error).__name__}).")))

    def leave_all(self) -> list[Ticket]:
        """Empty the batch and return its tickets, which have not been notified yet."""
        tickets = list(self.tickets.values())
        for row in list(self.tickets):
            self._leave(row)
        return tickets

    def seconds_to_go(self, place: int, steps: int, turns: int) -> float | None:
        """Estimate the seconds for a request with ``place`` others before it: it starts when a row before it has ended."""
        if not self.tick_seconds or not self.batch.rows:
            return None
        steps_left = sorted(row.left for row in self.batch.rows)
        rounds, index = divmod(place, len(steps_left))
        return (steps_left[index] + rounds * steps_left[-1] + steps) * self.tick_seconds * turns

    def _leave(self, row: Any) -> None:
        self.batch.leave(row)
        self._finished = [other for other in self._finished if other is not row]
        del self.tickets[row], self._started[row]
        self._previews.pop(row, None)

    def _step(self, turns: int) -> None:
        if not self.batch.rows:
            return
        start_time, width = time.monotonic(), self.batch.num_rows
        ended = self.batch.step()
        seconds = time.monotonic() - start_time
        self._seconds.observe(seconds)
        self._rows.observe(width)
        self.tick_seconds = 0.8 * (self.tick_seconds or seconds) + 0.2 * seconds
        for row in ended:
            if row.error:
                self._end(row, Failed(row.error))
            else:
                self._finished.append(row)
        self._preview()
        for row in self.batch.rows:
            to_go = row.left * self.tick_seconds * turns
            self.tickets[row].emit(Step(row.step, row.steps, self._previews.get(row, (0.0, None))[1], to_go))

    def _preview(self) -> None:
        now = time.monotonic()
        due = [
            row
            for row in self.batch.rows
            if self.tickets[row].watch and now - self._previews.get(row, (-1.0, None))[0] >= PREVIEW_SECONDS
        ]
        for row, image in zip(due, self.batch.previews(due), strict=True):
            self._previews[row] = now, image

    def _decode(self) -> None:
        """Decode a few pictures between two steps, so that running rows do not wait long."""
        few = len(self._finished) < min(self.batch.model.threads.max_threads, DECODE_AT_ONCE)
        tick = self.tick_seconds or PAIR_SECONDS
        if few and self.batch.rows and self._finished and self._waited + tick <= PAIR_SECONDS:
            self._waited += tick
            return
        self._waited = 0.0
        rows, self._finished = self._finished[:DECODE_AT_ONCE], self._finished[DECODE_AT_ONCE:]
        if not rows:
            return
        try:
            self._deliver(rows)
        except Exception:
            for row in rows:  # one by one, so that only the broken row fails
                try:
                    self._deliver([row])
                except Exception as error:
                    log.exception("a picture could not be decoded", extra={"request": self.tickets[row].metrics.origin.id})
                    self._end(row, Failed(GenerationFailed(f"The picture could not be decoded ({type(error).__name__}).")))

    def _deliver(self, rows: list[Any]) -> None:
        with self._decoding.time():
            images = self.batch.decode(rows)
        for row, image in zip(rows, images, strict=True):
            self._end(row, finish(self.batch.model, row, image, time.monotonic() - self._started[row]))

    def _end(self, row: Any, event: Done | Failed) -> None:
        ticket = self.tickets.pop(row)
        del self._started[row]
        self._previews.pop(row, None)
        ticket.emit(event)


def finish(model: Model, row: Any, image: Image, seconds: float) -> Done:
    """Return the result of a row: the picture, checked by the model's safety checker if enabled, and its info."""
    messages = notes(model, row.request)
    if model.safety:
        image, checker_notes = model.safety.check(image)
        messages += checker_notes
    return Done(image, describe(model, row.request, seconds) | {"notes": messages})


def describe(model: Model, request: Request, seconds: float) -> dict[str, Any]:
    """Return ``Done.info``: everything needed to reproduce the picture, and the seconds it took."""
    import diffusers
    import torch

    return request.as_dict() | {
        "revision": model.revision,
        "lora_hashes": model.adapters.hashes(request.loras),
        "seconds": round(seconds, 3),
        "device": model.device.type,
        "dtype": str(model.dtype).removeprefix("torch."),
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
    }
