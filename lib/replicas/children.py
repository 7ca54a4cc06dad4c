"""Replicas as child processes of this machine, each at the other end of a Unix socket. Restarts those that die."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from lib import log
from lib.replicas import messages
from lib.replicas.replica import Listener, Replica
from lib.settings import Settings, threads_each
from lib.text_to_image.request import Request

ROOT = Path(__file__).resolve().parent.parent.parent
BUFFER = 16 << 20  # bytes that wait to be read; a picture of 1024 x 1024 is 3 MB
SHORTEST, LONGEST = 0.5, 60.0  # seconds before a replica that died at once is started again
WELL = 60.0  # one that ran this long did not die at once


class Child(Replica):
    """One place for a process; when the process dies another one takes it."""

    def __init__(self, number: int, settings: Settings, threads: int) -> None:
        super().__init__(number)
        self._settings, self._threads = settings, threads
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def starting(self) -> bool:
        """Its process is there and has not spoken yet; between the death of one and the start of the next it is lost."""
        return not self.alive and (self._process is not None or not self.pid)

    async def live(self, listener: Listener) -> None:
        """Until it is cancelled."""
        pause = SHORTEST
        while True:
            began, why = time.monotonic(), "it ended"
            try:
                await self._life(listener)
            except Exception as error:  # whatever broke, another process takes its place
                logging.getLogger(__name__).exception("a replica's messages broke")
                why = f"its messages broke ({type(error).__name__})"
            finally:
                asked = self.leaving
                self.end()
            if not asked:
                listener.lost(self, why)
            pause = SHORTEST if time.monotonic() - began > WELL else min(2 * pause, LONGEST)
            await asyncio.sleep(0 if asked else pause)

    async def _life(self, listener: Listener) -> None:
        """Of one process: from its start until it hangs up."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lib.replicas.child", str(theirs.fileno())],
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self.pid = self._process.pid
        reader, self._writer = await asyncio.open_unix_connection(sock=ours, limit=BUFFER)
        variables = {"OMP_NUM_THREADS": str(self._threads), "OMP_WAIT_POLICY": "PASSIVE"}
        setup = {"setup": messages.settings_out(self._settings), "number": self.number, "variables": variables}
        self._writer.write(messages.frame(setup))
        self.heard = time.monotonic()
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length, size = messages.lengths(await reader.readexactly(messages.HEAD.size))
                data, blob = await reader.readexactly(length), await reader.readexactly(size)
                self._take(messages.json.loads(data), blob, listener)

    def _take(self, head: dict[str, Any], blob: bytes, listener: Listener) -> None:
        self.heard = time.monotonic()
        if "beat" in head:
            listener.beat(self, head)
        elif "order" in head:
            listener.event(self, head, blob)

    def send(self, number: int, request: Request, watch: bool, origin: tuple[str, str]) -> None:
        self._write(messages.order(number, request, watch, origin))

    def cancel(self, number: int) -> None:
        self._write(messages.frame({"cancel": number}))

    def _write(self, frame: bytes) -> None:
        if self._writer is not None:  # never waits: one that does not read is found by its silence
            self._writer.write(frame)

    def give_up(self) -> None:
        if self._process is not None:
            self._process.kill()  # its end of the stream follows

    async def gone(self) -> None:
        """Ends the process of now, and waits until it has no place here any more."""
        process = self._process
        self.give_up()
        while process is not None and self._process is process:
            await asyncio.sleep(0.02)

    def end(self) -> None:
        """Of the process, if there is one."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()  # after SIGKILL: at once
            self._process = None
        self.leave()


class Children:
    """``count`` of them share the cores; where there are accelerators, each has one."""

    def __init__(self, settings: Settings, count: int) -> None:
        self._own = [Child(number, settings, threads_each(count)) for number in range(count)]
        self.replicas: list[Replica] = list(self._own)
        self._lives: list[asyncio.Task[None]] = []

    async def start(self, listener: Listener) -> None:
        self._lives = [asyncio.create_task(child.live(listener)) for child in self._own]

    async def replace(self, replica: Replica) -> None:
        assert isinstance(replica, Child)
        log.event("replica_replaced", replica=replica.name)
        await replica.gone()

    async def grow(self) -> None:
        raise NotImplementedError("the number of child processes is fixed")

    async def shrink(self, replica: Replica) -> None:
        raise NotImplementedError("the number of child processes is fixed")

    async def close(self) -> None:
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)
