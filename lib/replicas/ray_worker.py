"""The replica's side of Ray Serve: what its deployment runs. Plain Python; Ray is not imported here."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from lib.replicas import figures, messages
from lib.replicas.worker import GATHER, Order, Worker


class RayWorker:
    """One replica. Arguments and answers are bytes of ours: Ray has nothing to unpickle but them."""

    def __init__(self, settings: bytes, generation: str) -> None:
        """``generation`` changes with every update, and so has Serve replace the replica."""
        self._generation = generation
        self._worker = Worker(messages.settings_in(json.loads(settings)))

    async def beat(self) -> bytes:
        beat = self._worker.beat() | {"figures": figures.take(), "generation": self._generation}
        return json.dumps(beat).encode()

    async def generate(self, message: bytes) -> AsyncIterator[bytes]:
        """Frames of one order's events up to its end. Ends early where the caller cancels, and frees the rows."""
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
                data, ended = order.take()
                if data:
                    yield data
        finally:
            order.cancel()

    async def quit(self, pid: int) -> None:
        """The page has given process ``pid`` up; its successor may get the message, and stays."""
        if pid == os.getpid():
            os._exit(1)

    def check_health(self) -> None:
        """Asked by Serve, which replaces the replica when this raises."""
        status: dict[str, Any] = self._worker.engine.status()
        if status["error"] and status["status"] == "failed" and status["error"].startswith("The engine has ended"):
            raise RuntimeError("the engine has ended")
