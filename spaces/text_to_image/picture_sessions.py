"""The running pictures of each visitor.

They belong to the visitor, not to a page: they survive a reload, and all pages of the visitor show them. If no page
reconnects within ``AWAY_SECONDS`` they are cancelled. Everything runs in the server's event loop, so there are no
locks. Independent of the widgets.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from lib.errors import Cancelled, GenerationFailed, WorkbenchError
from lib.text_to_image import png
from lib.text_to_image.events import Done, Event, Step, Stopped
from lib.text_to_image.follow import follow
from lib.text_to_image.gallery import Gallery
from lib.text_to_image.ticket import Ticket

from .pictures import name_of

log = logging.getLogger(__name__)

AWAY_SECONDS = 10.0  # a reload takes one to three
PAUSE = 0.1  # seconds between two updates of a page
BEAT = 1.0  # seconds between updates without a change, so that closed pages are noticed
MAX_UNDER_WAY = 16  # running pictures of one visitor


@dataclass(eq=False, slots=True)
class RunningPicture:
    """A requested picture. ``name`` is its file name in the gallery, "" until it is stored."""

    number: int
    ticket: Ticket
    event: Event | None = None
    preview: Image.Image | None = None
    name: str = ""
    error: WorkbenchError | None = None
    ended: bool = False

    @property
    def width(self) -> int:
        return self.ticket.request.width

    @property
    def height(self) -> int:
        return self.ticket.request.height


@dataclass(eq=False, slots=True)
class Session:
    """A visitor's pictures since none was running. ``watchers`` has an event for each page that shows them."""

    pictures: list[RunningPicture] = field(default_factory=list)
    watchers: dict[str, asyncio.Event] = field(default_factory=dict)
    began: float = 0.0
    seconds: float = 0.0
    alone: float = 0.0  # monotonic time at which the last page left
    showing_other: set[str] = field(default_factory=set)  # pages that currently show another picture

    @property
    def running(self) -> int:
        return sum(not picture.ended for picture in self.pictures)

    def notify(self) -> None:
        for updated in self.watchers.values():
            updated.set()


class PictureSessions:
    def __init__(self, gallery: Gallery, away: float = AWAY_SECONDS) -> None:
        self.gallery, self.away = gallery, away
        self._sessions: dict[str, Session] = {}
        self._tasks: set[asyncio.Task] = set()

    def running(self, key: str) -> int:
        """Returns the number of the visitor's running pictures."""
        return self._sessions[key].running if key in self._sessions else 0

    def session(self, key: str) -> Session | None:
        """Returns the visitor's session, None if it ended more than ``away`` seconds ago."""
        return self._sessions.get(key)

    def watched(self, key: str, page: str) -> bool:
        return key in self._sessions and page in self._sessions[key].watchers

    def show_other(self, key: str, page: str) -> None:
        """Records that the page shows another picture, which running ones must not replace."""
        if key in self._sessions:
            self._sessions[key].showing_other.add(page)

    def add(self, key: str, tickets: Sequence[Ticket]) -> Session:
        """Follows the tickets, and stores finished pictures in the visitor's gallery."""
        session = self._sessions.setdefault(key, Session())
        if not session.running:
            session.pictures, session.began = [], time.monotonic()
        for ticket in tickets:
            picture = RunningPicture(len(session.pictures), ticket)
            session.pictures.append(picture)
            self._start(self._follow(key, session, picture))
        self._left(key, session)  # the page may be closed before it calls ``watch``
        session.notify()
        return session

    def stop(self, key: str) -> None:
        """Cancels all of the visitor's pictures. Those with a preview are stored as stopped pictures."""
        for picture in self._sessions[key].pictures if key in self._sessions else ():
            picture.ticket.cancel()

    async def watch(self, key: str, page: str) -> AsyncIterator[Session]:
        """Yields the visitor's session now and after every change, until no picture is running.

        A later call for the same page ends this one.
        """
        session = self._sessions.get(key)
        if session is None:
            return
        updated = session.watchers[page] = asyncio.Event()
        try:
            while session.watchers.get(page) is updated:
                updated.clear()
                ended = not session.running
                yield session
                if ended:
                    return
                await asyncio.sleep(PAUSE)
                try:
                    await asyncio.wait_for(updated.wait(), BEAT)
                except TimeoutError:
                    continue
        finally:
            if session.watchers.get(page) is updated:
                del session.watchers[page]
                self._left(key, session)

    async def _follow(self, key: str, session: Session, picture: RunningPicture) -> None:
        try:
            async for event in follow(picture.ticket):
                if isinstance(event, Done | Stopped):
                    picture.name = await asyncio.to_thread(self._keep, key, event.image, event.info)
                else:
                    picture.event = event
                    if isinstance(event, Step) and event.preview is not None:
                        picture.preview = event.preview
                session.notify()
        except WorkbenchError as error:
            picture.error = None if isinstance(error, Cancelled) and picture.name else error
        except Exception:
            log.exception("a finished picture could not be kept")
            picture.error = GenerationFailed("The picture was made but could not be stored. Please try again.")
        finally:
            picture.ended = True
            if not session.running:
                session.seconds = time.monotonic() - session.began
            session.notify()
            self._left(key, session)

    def _keep(self, key: str, image: Image.Image, info: dict[str, Any]) -> str:
        stopped = f"-stopped-at-{info['stopped']['step']}" if "stopped" in info else ""
        return self.gallery.add(key, png.encode(image, info), name_of(info) + stopped).name

    def _left(self, key: str, session: Session) -> None:
        """Schedules the end of a session without pages, unless one reconnects."""
        if not session.watchers:
            session.alone = time.monotonic()
            asyncio.get_running_loop().call_later(self.away, self._end, key, session)

    def _end(self, key: str, session: Session) -> None:
        if not session.watchers and time.monotonic() - session.alone > self.away - 0.1:  # no page has connected in between
            if not session.running and self._sessions.get(key) is session:
                del self._sessions[key]
            for picture in session.pictures:
                picture.ticket.cancel()

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
