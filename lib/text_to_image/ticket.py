"""The caller's handle of a request, to receive its events and to cancel it. Thread-safe."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from PIL.Image import Resampling

from lib.errors import Cancelled
from lib.text_to_image.events import Done, Event, Failed, Loading, Queued, Step, Stopped
from lib.text_to_image.request import Request
from lib.text_to_image.request_metrics import RequestMetrics


class Ticket:
    """Ticket of one picture. ``watch`` enables previews. Tickets of one ``owner`` share a turn in the queue."""

    def __init__(self, request: Request, *, owner: str = "", watch: bool = True) -> None:
        assert request.count == 1, "one ticket a picture: see submit.py"
        self.request, self.owner, self.watch = request, owner, watch
        self.created = time.monotonic()
        self.metrics = RequestMetrics(request, self.created)
        self.cancelled = False
        self.ended = False
        self._preview: Step | None = None  # the last one that has a picture
        self._events: deque[Event] = deque()
        self._condition = threading.Condition()
        self._listener: Callable[[], None] = lambda: None
        self.on_cancel: Callable[[], None] = lambda: None

    def emit(self, event: Event) -> None:
        """Add an event; called by the engine. A slow reader gets only the newest event of a kind, but always the end."""
        self._put(lambda: [event])

    def cancel(self) -> None:
        """Cancel the request. Can be called repeatedly and from any thread; does nothing after the end."""
        if not self.ended:
            self.cancelled = True
            self._put(lambda: [*self._stopped(), Failed(Cancelled())])
            self.on_cancel()

    def _put(self, make: Callable[[], list[Event]]) -> None:
        """Append the events of ``make``, which is called under the lock."""
        with self._condition:
            if self.ended:
                return
            events = make()
            for event in events:
                if self._events and type(self._events[-1]) is type(event) and isinstance(event, (Loading, Queued, Step)):
                    self._events.pop()
                self._events.append(event)
                if isinstance(event, Step) and event.preview is not None:
                    self._preview = event
            self.ended = isinstance(events[-1], (Done, Failed))
            self._condition.notify_all()
            listener = self._listener
        for event in events:
            self.metrics.note(event, self.request)
        listener()

    def _stopped(self) -> list[Event]:
        """Return the Stopped event of a cancelled request, if it has a preview."""
        last, request = self._preview, self.request
        if last is None or last.preview is None:
            return []
        size = request.width or last.preview.width, request.height or last.preview.height
        image = last.preview.resize(size, Resampling.BICUBIC)
        extra = {"seconds": round(time.monotonic() - self.created, 3), "stopped": {"step": last.step, "steps": last.steps}}
        return [Stopped(image, last.step, last.steps, request.as_dict() | extra)]

    def take_events(self) -> list[Event]:
        """Return the events since the last call, without waiting."""
        with self._condition:
            events = list(self._events)
            self._events.clear()
            return events

    def set_listener(self, listener: Callable[[], None]) -> None:
        """Set a listener that the engine's thread calls whenever there are new events."""
        with self._condition:
            self._listener = listener
            waiting = bool(self._events)
        if waiting:
            listener()

    def events(self) -> Iterator[Event]:
        """Yield events up to the end, waiting for them. Leaving the loop cancels the request."""
        try:
            while True:
                with self._condition:
                    self._condition.wait_for(lambda: self._events)
                for event in self.take_events():
                    yield event
                    if isinstance(event, (Done, Failed)):
                        return
        finally:
            self.cancel()

    def result(self) -> Done:
        """Wait for the picture. Raises the WorkbenchError of a failed or cancelled request."""
        for event in self.events():
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Done):
                return event
        raise AssertionError("a ticket ended without an end")
