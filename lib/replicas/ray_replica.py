"""A replica of Ray Serve as the page sees it: called by its handle, asked once a second how it is."""

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
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.application = f"pictures-{number}"
        self.handle: Any = None
        self.generation = ""
        self._listener: Listener | None = None
        self._streams: dict[int, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def live(self, listener: Listener) -> None:
        """Asks how it is, once a second; the answer of one that is frozen or still starts comes when it comes."""
        self._listener = listener
        while True:
            try:
                beat = json.loads(await self.handle.beat.remote())
            except asyncio.CancelledError:
                raise
            except Exception as error:  # of Ray: it died, or is not there yet
                if self.alive:
                    self._forget()
                    listener.lost(self, type(error).__name__)
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if beat["generation"] == self.generation:  # not one that is about to go
                listener.beat(self, beat)
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
                self.heard = time.monotonic()
                for head, blob in messages.frames(data):
                    self._listener.event(self, head, blob)
            if number in self._streams:
                self._listener.dropped(self, number)  # it ended without an end; after one this does nothing
        except asyncio.CancelledError:
            if number in self._streams:
                raise
        except Exception as error:
            if self._streams.pop(number, None) is not None:  # nobody cancelled it
                logging.getLogger(__name__).warning("a request was lost", extra={"fields": log.failure(error)})
                self._lost(number, error)
        finally:
            self._streams.pop(number, None)

    def _lost(self, number: int, error: Exception) -> None:
        from ray.exceptions import RayActorError

        assert self._listener is not None
        if isinstance(error, RayActorError) and self.alive:
            self._listener.lost(self, type(error).__name__)  # all of it, this request among them
        else:
            self.alive = False  # until it answers again, requests go elsewhere
            self._listener.dropped(self, number)

    def cancel(self, number: int) -> None:
        """Dropping the stream, or its task, would let the rows run to their end."""
        stream = self._streams.pop(number, None)
        if stream is not None:
            stream.cancel()

    def give_up(self) -> None:
        """It ends itself when it reads that; one that is frozen is ended by Serve's health check, or when it wakes up."""
        self._forget()
        with suppress(Exception):  # of Ray: nobody is there to be told
            self.handle.quit.remote(self.pid)

    def _forget(self) -> None:
        for number in list(self._streams):
            self.cancel(number)
