"""The class that a Ray Serve deployment runs. Plain Python; Ray is not imported here."""

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
    """One replica. Arguments and results are bytes, so Ray unpickles nothing else."""

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
        """Frames with the events of one order up to its end. Ends early if the caller cancels, and frees the rows."""
        loop, news, end = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

        def wake(order: Order) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(news.set)
                if order.ended:
                    loop.call_soon_threadsafe(end.set)

        order = self._worker.take(*next(messages.frames(message)), wake)
        try:
            ended = False
            while not ended:
                await news.wait()
                with suppress(TimeoutError):
                    await asyncio.wait_for(end.wait(), GATHER)
                news.clear()
                data, ended = order.take_events()
                if data:
                    yield data
        finally:
            order.cancel()

    async def quit(self, pid: int) -> None:
        """Exits if this is process ``pid``, which the page has given up; its successor may get the message, too."""
        if pid == os.getpid():
            os._exit(1)

    def check_health(self) -> None:
        """Called by Serve, which replaces the replica if this raises."""
        status: dict[str, Any] = self._worker.engine.status()
        if status["error"] and status["status"] == "failed" and status["error"].startswith("The engine has ended"):
            raise RuntimeError("the engine has ended")
