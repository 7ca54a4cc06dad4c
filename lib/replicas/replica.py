"""The state of a replica, and the interface of a back end (``process_fleet.py``, ``ray_serve.py``)."""

from __future__ import annotations

import time
from typing import Any, Protocol

from lib.text_to_image.request import Request

SILENT = 8.0  # seconds without a message after which a ready replica is considered frozen
LOADING = 90.0  # the same while it starts, as importing a library from a slow disk blocks all threads
STUCK, TICKS = 10.0, 20  # a replica without progress for the longer of these seconds and steps is considered stuck
FIRST_STEP = 300.0  # timeout in seconds of the first step, whose duration is unknown


class Replica:
    """State of a replica, used by the dispatcher's event loop only. ``alive``: it has sent a heartbeat and is not lost."""

    pid = 0

    def __init__(self, number: int) -> None:
        self.number, self.name = number, f"replica {number}"
        self.reset()

    def reset(self) -> None:
        """Return to the state before the first heartbeat."""
        self.alive = self.draining = False
        self.status: dict[str, Any] = {"status": "loading", "stage": "starting"}
        self.models: dict[str, dict[str, int]] = {}
        self.last_message = self.last_step = time.monotonic()
        self.tick: float | None = None

    @property
    def usable(self) -> bool:
        """Whether requests can be sent to it. A replica whose model failed rejects them with the reason."""
        return self.alive and not self.draining and self.status["status"] in ("ready", "failed")

    @property
    def ready(self) -> bool:
        return self.alive and self.status["status"] == "ready"

    @property
    def starting(self) -> bool:
        """Whether it has not sent a heartbeat yet."""
        return not self.alive and not self.pid

    def update(self, heartbeat: dict[str, Any]) -> None:
        """Update the state from a heartbeat."""
        self.alive, self.last_message = True, time.monotonic()
        self.status, self.models, self.pid = heartbeat["beat"], heartbeat["models"], heartbeat["pid"]

    def unhealthy_reason(self, now: float, busy: bool) -> str:
        """Return why the replica should be given up, or "". ``busy``: whether it has requests."""
        if now - self.last_message > (SILENT if self.ready else LOADING):
            return "it does not answer"
        limit = FIRST_STEP if self.tick is None else max(STUCK, TICKS * self.tick)
        if busy and now - self.last_step > limit:
            return "its pictures make no progress"
        return ""

    def send(self, number: int, request: Request, watch: bool, origin: tuple[str, str]) -> None:
        """Send a request to the replica. Never waits."""
        raise NotImplementedError

    def cancel(self, number: int) -> None:
        """Cancel a request. Its rows leave the batch within one step."""
        raise NotImplementedError

    def give_up(self) -> None:
        """Kill an unhealthy replica. The back end starts another one."""
        raise NotImplementedError


class Listener(Protocol):
    """Interface of the dispatcher for back ends. Called in its event loop."""

    def heartbeat(self, replica: Replica, message: dict[str, Any]) -> None: ...

    def event(self, replica: Replica, head: dict[str, Any], blob: bytes) -> None: ...

    def lost(self, replica: Replica, why: str) -> None:
        """Handle the death of the replica with all its requests."""

    def dropped(self, replica: Replica, number: int) -> None:
        """Handle the loss of one request. The replica may be healthy."""


class Fleet(Protocol):
    """The replicas of one back end."""

    replicas: list[Replica]

    async def start(self, listener: Listener) -> None: ...

    async def replace(self, replica: Replica) -> None:
        """Replace ``replica`` by one with the current code and weights. It must have no requests."""

    async def grow(self) -> None:
        """Add a replica. Only called if REPLICAS has a range."""

    async def shrink(self, replica: Replica) -> None:
        """Remove ``replica``, which must have no requests."""

    async def close(self) -> None: ...
