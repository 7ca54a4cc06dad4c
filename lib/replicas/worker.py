"""The replica's side of both back ends: an engine and its messages, independent of the transport."""

from __future__ import annotations

import contextvars
import json
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from PIL import Image

from lib import log, origin
from lib.errors import GenerationFailed, WorkbenchError
from lib.replicas import messages, replica_metrics
from lib.settings import Settings
from lib.text_to_image.engine import Engine
from lib.text_to_image.events import Done, Failed, Step, Stopped
from lib.text_to_image.group import own_rows
from lib.text_to_image.request import Request
from lib.text_to_image.ticket import Ticket

GATHER = 0.1  # seconds between messages: ten previews a second suffice, and each message costs time on both sides
UNLIMITED = 1_000_000  # the page has the queue and sends what fits


class Order:
    """A request that runs in this replica."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.ticket: Ticket | None = None
        self._refused: WorkbenchError | None = None
        self._preview: Image.Image | None = None

    @property
    def ended(self) -> bool:
        return self.ticket is None or self.ticket.ended

    def refuse(self, error: WorkbenchError) -> None:
        self._refused = error

    def cancel(self) -> None:
        if self.ticket is not None:
            self.ticket.cancel()

    def take_events(self) -> tuple[bytes, bool]:
        """Return frames with the events since the last call, and whether the last of them ends the request."""
        if self.ticket is None:
            assert self._refused is not None
            return messages.encode(self.number, Failed(self._refused), None), True
        data, end = b"", False
        for event in self.ticket.take_events():
            if isinstance(event, Stopped):  # the page's own ticket creates it
                continue
            data += messages.encode(self.number, event, self._preview)
            if isinstance(event, Step):
                self._preview = event.preview or self._preview
            end = isinstance(event, Done | Failed)
        return data, end


class Worker:
    """Runs an engine for one replica."""

    def __init__(self, settings: Settings) -> None:
        log.setup(settings.log_format)
        # the page logs pictures, as it knows how long each waited and how it ended
        logging.getLogger(log.EVENTS).addFilter(lambda record: record.msg != "picture")
        replica_metrics.record()
        self.settings = replace(settings, queue_size=UNLIMITED, replicas="")
        self.engine = Engine(self.settings)
        self.engine.start()

    def take(self, message: dict[str, Any], blob: bytes, wake: Callable[[Order], None]) -> Order:
        """Submit an order of the page. ``wake`` is called from the engine's thread when the order has new events."""
        order = Order(message["order"])
        context = contextvars.copy_context()
        context.run(origin.current.set, origin.Origin(*message["origin"]))
        try:
            request = messages.request_in(message, blob)
            order.ticket = context.run(self.engine.submit, request, watch=bool(message["watch"]))
        except WorkbenchError as error:
            order.refuse(error)
        except Exception as error:
            logging.getLogger(__name__).exception("an order could not be taken")
            order.refuse(GenerationFailed(f"The replica failed on this request ({type(error).__name__})."))
        if order.ticket is None:
            wake(order)
        else:
            order.ticket.set_listener(lambda: wake(order))
        return order

    def heartbeat(self) -> dict[str, Any]:
        """Return the engine's status, and the facts from which the page decides which requests fit."""
        guided = Request(prompt="-", guidance_scale=2.0)
        models = {
            model.name: {
                "size": model.size,
                "rows": own_rows(model, self.settings),
                "multiple": model.family.multiple if model.family else 8,
                "guided": model.rows(guided),
            }
            for model in self.engine.loaded()
        }
        return {"beat": self.engine.status(), "models": models, "pid": os.getpid()}

    def close(self) -> None:
        self.engine.close()


def equal_json(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two dicts have the same JSON representation."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
