"""The class that a Ray Serve deployment runs. Ray is not imported here."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from lib.replicas import messages, replica_metrics
from lib.replicas.worker import GATHER, Order, Worker


class RayWorker:
    """A replica. Arguments and results are bytes, so Ray unpickles nothing else."""

    def __init__(self, settings: bytes, generation: str) -> None:
        """``generation`` changes with every update, which makes Serve replace the replica."""
        self._generation = generation
        self._worker = Worker(messages.settings_in(json.loads(settings)))

    async def heartbeat(self) -> bytes:
        heartbeat = self._worker.heartbeat() | {
            "figures": replica_metrics.pop_observations(),
            "generation": self._generation,
        }
        return json.dumps(heartbeat).encode()

    async def generate(self, message: bytes) -> AsyncIterator[bytes]:
        """Yield frames with the events of an order up to its end. If the caller cancels, the order's rows are freed."""
        loop, changed, end = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

        def wake(order: Order) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(changed.set)
                if order.ended:
                    loop.call_soon_threadsafe(end.set)

        order = self._worker.take(*next(messages.frames(message)), wake)
        try:
            ended = False
            while not ended:
                await changed.wait()
                with suppress(TimeoutError):
                    await asyncio.wait_for(end.wait(), GATHER)
                changed.clear()
                data, ended = order.take_events()
                if data:
                    yield data
        finally:
            order.cancel()

    async def quit(self, pid: int) -> None:
        """Exit if this is process ``pid``, which the page has given up. Its successor may get the message too."""
        if pid == os.getpid():
            os._exit(1)

    def check_health(self) -> None:
        """Raise RuntimeError if the engine has ended. Serve calls this and replaces the replica if it raises."""
        status: dict[str, Any] = self._worker.engine.status()
        if status["error"] and status["status"] == "failed" and status["error"].startswith("The engine has ended"):
            raise RuntimeError("the engine has ended")
