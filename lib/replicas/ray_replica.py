"""The page's side of a Ray Serve replica, which is called by its handle and polled for a heartbeat once a second."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress
from typing import Any

from lib import log
from lib.replicas import messages
from lib.replicas.replica import Listener, Replica
from lib.text_to_image.request import Request

PING_SECONDS, AGAIN_SECONDS = 1.0, 0.2


class RayReplica(Replica):
    """A replica of Ray Serve, one application each."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.application = f"pictures-{number}"
        self.handle: Any = None
        self.generation = ""
        self._listener: Listener | None = None
        self._streams: dict[int, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, listener: Listener) -> None:
        """Poll the heartbeat once a second until cancelled. The loop waits for a frozen or starting replica."""
        self._listener = listener
        while True:
            try:
                heartbeat = json.loads(await self.handle.heartbeat.remote())
            except asyncio.CancelledError:
                raise
            except Exception as error:  # raised by Ray: the replica died or is not started yet
                if self.alive:
                    self._forget()
                    listener.lost(self, type(error).__name__)
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if heartbeat["generation"] == self.generation:  # ignores a replica that is being replaced
                listener.heartbeat(self, heartbeat)
            await asyncio.sleep(PING_SECONDS if self.ready else AGAIN_SECONDS)

    def send(self, number: int, request: Request, watch: bool, origin: tuple[str, str]) -> None:
        order = messages.order(number, request, watch, origin)
        task = asyncio.get_running_loop().create_task(self._follow(number, order))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, number: int, order: bytes) -> None:
        assert self._listener is not None
        stream = self._streams[number] = self.handle.options(stream=True).generate.remote(order)
        try:
            async for data in stream:
                self.last_message = time.monotonic()
                for head, blob in messages.frames(data):
                    self._listener.event(self, head, blob)
            if number in self._streams:
                self._listener.dropped(self, number)  # does nothing if the last event was the end
        except asyncio.CancelledError:
            if number in self._streams:
                raise
        except Exception as error:
            if self._streams.pop(number, None) is not None:  # it was not cancelled
                logging.getLogger(__name__).warning("a request was lost", extra={"fields": log.failure(error)})
                self._lost(number, error)
        finally:
            self._streams.pop(number, None)

    def _lost(self, number: int, error: Exception) -> None:
        from ray.exceptions import RayActorError

        assert self._listener is not None
        if isinstance(error, RayActorError) and self.alive:
            self._listener.lost(self, type(error).__name__)  # the whole replica, including this request
        else:
            self.alive = False  # gets no requests until it answers again
            self._listener.dropped(self, number)

    def cancel(self, number: int) -> None:
        """Cancel the stream. Dropping it, or its task, would let the rows run to their end."""
        stream = self._streams.pop(number, None)
        if stream is not None:
            stream.cancel()

    def give_up(self) -> None:
        """Ask the replica to exit. A frozen one is killed by Serve's health check, or exits when it wakes up."""
        self._forget()
        with suppress(Exception):  # raised by Ray: the replica is already gone
            self.handle.quit.remote(self.pid)

    def _forget(self) -> None:
        for number in list(self._streams):
            self.cancel(number)
