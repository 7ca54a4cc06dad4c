"""What each visitor has under way. It belongs to the visitor, not to a page: a reload loses nothing, and all of the
visitor's pages see it. Where no page comes back within ``AWAY_SECONDS`` it is cancelled.

Everything here happens in the server's event loop, so there are no locks. Knows tickets and the gallery; no widgets.
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
PAUSE = 0.1  # seconds between two looks at the same page
BEAT = 1.0  # seconds without news after which a page is sent something all the same: only so is it known to be there
MAX_UNDER_WAY = 16  # pictures under way of one visitor


@dataclass(eq=False, slots=True)
class Making:
    """One picture on its way. ``name`` is its file's in the gallery, once it is there."""

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
class Round:
    """A visitor's pictures since nothing was under way. ``watchers`` are pages, each with what wakes it."""

    makings: list[Making] = field(default_factory=list)
    watchers: dict[str, asyncio.Event] = field(default_factory=dict)
    began: float = 0.0
    seconds: float = 0.0
    alone: float = 0.0  # since when no page watches
    elsewhere: set[str] = field(default_factory=set)  # pages that look at another picture meanwhile

    @property
    def running(self) -> int:
        return sum(not making.ended for making in self.makings)

    def tell(self) -> None:
        for news in self.watchers.values():
            news.set()


class Desk:
    def __init__(self, gallery: Gallery, away: float = AWAY_SECONDS) -> None:
        self.gallery, self.away = gallery, away
        self._rounds: dict[str, Round] = {}
        self._tasks: set[asyncio.Task] = set()

    def running(self, key: str) -> int:
        """The visitor's pictures under way."""
        return self._rounds[key].running if key in self._rounds else 0

    def round(self, key: str) -> Round | None:
        """What the visitor has under way, or had until ``away`` seconds ago."""
        return self._rounds.get(key)

    def watched(self, key: str, page: str) -> bool:
        return key in self._rounds and page in self._rounds[key].watchers

    def look_elsewhere(self, key: str, page: str) -> None:
        """The page shows another picture: what is under way does not take its place."""
        if key in self._rounds:
            self._rounds[key].elsewhere.add(page)

    def add(self, key: str, tickets: Sequence[Ticket]) -> Round:
        """Follows them to their ends, which are pictures in the visitor's gallery."""
        found = self._rounds.setdefault(key, Round())
        if not found.running:
            found.makings, found.began = [], time.monotonic()
        for ticket in tickets:
            making = Making(len(found.makings), ticket)
            found.makings.append(making)
            self._start(self._follow(key, found, making))
        self._left(key, found)  # it may go before it has watched
        found.tell()
        return found

    def stop(self, key: str) -> None:
        """Ends all of the visitor's; what has a preview becomes a picture that says so."""
        for making in self._rounds[key].makings if key in self._rounds else ():
            making.ticket.cancel()

    async def watch(self, key: str, page: str) -> AsyncIterator[Round]:
        """The visitor's round now, and whenever there is news, until nothing is under way.

        A later watch of the same page takes its place.
        """
        found = self._rounds.get(key)
        if found is None:
            return
        news = found.watchers[page] = asyncio.Event()
        try:
            while found.watchers.get(page) is news:
                news.clear()
                ended = not found.running
                yield found
                if ended:
                    return
                await asyncio.sleep(PAUSE)
                try:
                    await asyncio.wait_for(news.wait(), BEAT)
                except TimeoutError:
                    continue
        finally:
            if found.watchers.get(page) is news:
                del found.watchers[page]
                self._left(key, found)

    async def _follow(self, key: str, found: Round, making: Making) -> None:
        try:
            async for event in follow(making.ticket):
                if isinstance(event, Done | Stopped):
                    making.name = await asyncio.to_thread(self._keep, key, event.image, event.info)
                else:
                    making.event = event
                    if isinstance(event, Step) and event.preview is not None:
                        making.preview = event.preview
                found.tell()
        except WorkbenchError as error:
            making.error = None if isinstance(error, Cancelled) and making.name else error
        except Exception:
            log.exception("a finished picture could not be kept")
            making.error = GenerationFailed("The picture was made but could not be stored. Please try again.")
        finally:
            making.ended = True
            if not found.running:
                found.seconds = time.monotonic() - found.began
            found.tell()
            self._left(key, found)

    def _keep(self, key: str, image: Image.Image, info: dict[str, Any]) -> str:
        stopped = f"-stopped-at-{info['stopped']['step']}" if "stopped" in info else ""
        return self.gallery.add(key, png.encode(image, info), name_of(info) + stopped).name

    def _left(self, key: str, found: Round) -> None:
        """A page has gone, or has not come yet; it may come even to what has just ended."""
        if not found.watchers:
            found.alone = time.monotonic()
            asyncio.get_running_loop().call_later(self.away, self._end, key, found)

    def _end(self, key: str, found: Round) -> None:
        if not found.watchers and time.monotonic() - found.alone > self.away - 0.1:  # nobody came and went meanwhile
            if not found.running and self._rounds.get(key) is found:
                del self._rounds[key]
            for making in found.makings:
                making.ticket.cancel()

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
