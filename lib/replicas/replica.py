"""What the page knows of a replica, and what a back end (``children.py``, ``ray_serve.py``) does and tells."""

from __future__ import annotations

import time
from typing import Any, Protocol

from lib.text_to_image.request import Request

SILENT = 8.0  # seconds without a word after which a replica that worked counts as frozen
LOADING = 90.0  # the same while it starts: a library that is read from a slow disk lets nobody speak
STUCK, TICKS = 10.0, 20  # it speaks, but its pictures stand still: the longer of these seconds and ticks
FIRST_STEP = 300.0  # until its first step nobody knows how long one takes


class Replica:
    """Used by the dispatcher's event loop only. ``alive``: it is there and speaks."""

    pid = 0

    def __init__(self, number: int) -> None:
        self.number, self.name = number, f"replica {number}"
        self.leave()

    def leave(self) -> None:
        """As nobody has heard of it (any more)."""
        self.alive = self.leaving = False
        self.status: dict[str, Any] = {"status": "loading", "stage": "starting"}
        self.models: dict[str, dict[str, int]] = {}
        self.heard = self.moved = time.monotonic()
        self.tick: float | None = None

    @property
    def usable(self) -> bool:
        """It can be sent requests. One whose model failed tells callers why."""
        return self.alive and not self.leaving and self.status["status"] in ("ready", "failed")

    @property
    def ready(self) -> bool:
        return self.alive and self.status["status"] == "ready"

    @property
    def starting(self) -> bool:
        """Nobody has heard of it yet."""
        return not self.alive and not self.pid

    def note(self, beat: dict[str, Any]) -> None:
        self.alive, self.heard = True, time.monotonic()
        self.status, self.models, self.pid = beat["beat"], beat["models"], beat["pid"]

    def illness(self, now: float, busy: bool) -> str:
        """Why it should be given up, or ""."""
        if now - self.heard > (SILENT if self.ready else LOADING):
            return "it does not answer"
        limit = FIRST_STEP if self.tick is None else max(STUCK, TICKS * self.tick)
        if busy and now - self.moved > limit:
            return "its pictures stand still"
        return ""

    def send(self, number: int, request: Request, watch: bool, origin: tuple[str, str]) -> None:
        raise NotImplementedError

    def cancel(self, number: int) -> None:
        """Its rows leave the batch within a tick."""
        raise NotImplementedError

    def give_up(self) -> None:
        """It is ill: whatever of it still runs is ended, and another one takes its place."""
        raise NotImplementedError


class Listener(Protocol):
    """The dispatcher, as back ends see it; all in its event loop."""

    def beat(self, replica: Replica, message: dict[str, Any]) -> None: ...

    def event(self, replica: Replica, head: dict[str, Any], blob: bytes) -> None: ...

    def lost(self, replica: Replica, why: str) -> None:
        """It has died, with everything on it."""

    def dropped(self, replica: Replica, number: int) -> None:
        """One request on it is lost; the replica may be well."""


class Fleet(Protocol):
    """The replicas of one back end."""

    replicas: list[Replica]

    async def start(self, listener: Listener) -> None: ...

    async def replace(self, replica: Replica) -> None:
        """With one of today's code and weights; nothing is under way on it."""

    async def grow(self) -> None:
        """One more; only where the address has a range."""

    async def shrink(self, replica: Replica) -> None:
        """Without ``replica``, on which nothing is under way."""

    async def close(self) -> None: ...
