"""A caller's hold on its request: events come out, cancel goes in. Thread-safe."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from PIL.Image import Resampling

from lib.errors import Cancelled
from lib.text_to_image.account import Account
from lib.text_to_image.events import Done, Event, Failed, Loading, Queued, Step, Stopped
from lib.text_to_image.request import Request


class Ticket:
    """Of one picture. ``watch`` asks for previews. ``owner`` is whoever shares a turn in the queue."""

    def __init__(self, request: Request, *, owner: str = "", watch: bool = True) -> None:
        assert request.count == 1, "one ticket a picture: see burst.py"
        self.request, self.owner, self.watch = request, owner, watch
        self.created = time.monotonic()
        self.account = Account(request, self.created)
        self.cancelled = False
        self.ended = False
        self._preview: Step | None = None  # the last one that has a picture
        self._events: deque[Event] = deque()
        self._news = threading.Condition()
        self._listener: Callable[[], None] = lambda: None
        self.on_cancel: Callable[[], None] = lambda: None

    def emit(self, event: Event) -> None:
        """Called by the engine. A slow reader gets the newest of a kind only, and always the end."""
        self._put(lambda: [event])

    def cancel(self) -> None:
        """Any time, any thread, as often as you like; after the end it does nothing."""
        if not self.ended:
            self.cancelled = True
            self._put(lambda: [*self._stopped(), Failed(Cancelled())])
            self.on_cancel()

    def _put(self, make: Callable[[], list[Event]]) -> None:
        """``make`` is called where nothing else can come in between."""
        with self._news:
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
            self._news.notify_all()
            listener = self._listener
        for event in events:
            self.account.note(event, self.request)
        listener()

    def _stopped(self) -> list[Event]:
        """What is kept of a request that ends without its picture."""
        last, request = self._preview, self.request
        if last is None or last.preview is None:
            return []
        size = request.width or last.preview.width, request.height or last.preview.height
        image = last.preview.resize(size, Resampling.BICUBIC)
        done = {"seconds": round(time.monotonic() - self.created, 3), "stopped": {"step": last.step, "steps": last.steps}}
        return [Stopped(image, last.step, last.steps, request.as_dict() | done)]

    def take(self) -> list[Event]:
        """The events since the last call, without waiting."""
        with self._news:
            events = list(self._events)
            self._events.clear()
            return events

    def listen(self, listener: Callable[[], None]) -> None:
        """``listener()`` is called, from the engine's thread, whenever there is something to take."""
        with self._news:
            self._listener = listener
            waiting = bool(self._events)
        if waiting:
            listener()

    def events(self) -> Iterator[Event]:
        """Waits for and yields events up to the end; leaving the loop cancels the request."""
        try:
            while True:
                with self._news:
                    self._news.wait_for(lambda: self._events)
                for event in self.take():
                    yield event
                    if isinstance(event, (Done, Failed)):
                        return
        finally:
            self.cancel()

    def result(self) -> Done:
        """Waits for the picture. Raises the WorkbenchError that ended the request otherwise."""
        for event in self.events():
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Done):
                return event
        raise AssertionError("a ticket ended without an end")
