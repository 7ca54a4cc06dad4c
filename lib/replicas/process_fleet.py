"""Replicas as child processes of this machine, each connected by a Unix socket. Processes that die are restarted."""

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
from lib.settings import Settings, threads_per_process
from lib.text_to_image.request import Request

ROOT = Path(__file__).resolve().parent.parent.parent
BUFFER = 16 << 20  # bytes of the read buffer; a picture of 1024 x 1024 is 3 MB
MIN_PAUSE, MAX_PAUSE = 0.5, 60.0  # seconds of backoff before a process that died early is restarted
EARLY = 60.0  # seconds of run time below which a process died early


class ProcessReplica(Replica):
    """Runs a process and starts a new one when it dies."""

    def __init__(self, number: int, settings: Settings, threads: int) -> None:
        super().__init__(number)
        self._settings, self._threads = settings, threads
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def starting(self) -> bool:
        """Whether its process has been started and has sent nothing yet. Between two processes it is lost instead."""
        return not self.alive and (self._process is not None or not self.pid)

    async def run(self, listener: Listener) -> None:
        """Run processes, one after another, until cancelled."""
        pause = MIN_PAUSE
        while True:
            start_time, reason = time.monotonic(), "it ended"
            try:
                await self._run_process(listener)
            except Exception as error:  # whatever failed, a new process is started
                logging.getLogger(__name__).exception("a replica's messages broke")
                reason = f"its messages broke ({type(error).__name__})"
            finally:
                intended = self.draining
                self.end()
            if not intended:
                listener.lost(self, reason)
            pause = MIN_PAUSE if time.monotonic() - start_time > EARLY else min(2 * pause, MAX_PAUSE)
            await asyncio.sleep(0 if intended else pause)

    async def _run_process(self, listener: Listener) -> None:
        """Start one process and read its messages until it closes the socket."""
        our_end, their_end = socket.socketpair()
        with their_end:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lib.replicas.replica_process", str(their_end.fileno())],
                cwd=ROOT,
                pass_fds=[their_end.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self.pid = self._process.pid
        reader, self._writer = await asyncio.open_unix_connection(sock=our_end, limit=BUFFER)
        variables = {"OMP_NUM_THREADS": str(self._threads), "OMP_WAIT_POLICY": "PASSIVE"}
        setup = {"setup": messages.settings_out(self._settings), "number": self.number, "variables": variables}
        self._writer.write(messages.frame(setup))
        self.last_message = time.monotonic()
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length, size = messages.lengths(await reader.readexactly(messages.HEAD.size))
                data, blob = await reader.readexactly(length), await reader.readexactly(size)
                self._take(messages.json.loads(data), blob, listener)

    def _take(self, head: dict[str, Any], blob: bytes, listener: Listener) -> None:
        self.last_message = time.monotonic()
        if "beat" in head:
            listener.heartbeat(self, head)
        elif "order" in head:
            listener.event(self, head, blob)

    def send(self, number: int, request: Request, watch: bool, origin: tuple[str, str]) -> None:
        self._write(messages.order(number, request, watch, origin))

    def cancel(self, number: int) -> None:
        self._write(messages.frame({"cancel": number}))

    def _write(self, frame: bytes) -> None:
        if self._writer is not None:  # never waits: missing heartbeats reveal a process that does not read
            self._writer.write(frame)

    def give_up(self) -> None:
        if self._process is not None:
            self._process.kill()  # its end of the socket closes with it

    async def stop_and_wait(self) -> None:
        """Kill the current process and wait until it is removed."""
        process = self._process
        self.give_up()
        while process is not None and self._process is process:
            await asyncio.sleep(0.02)

    def end(self) -> None:
        """Kill the process, if there is one, and close the socket."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()  # returns at once after SIGKILL
            self._process = None
        self.reset()


class ProcessFleet:
    """A fleet of ``count`` processes that share the cores. Each uses one accelerator, if there are any."""

    def __init__(self, settings: Settings, count: int) -> None:
        self._own = [ProcessReplica(number, settings, threads_per_process(count)) for number in range(count)]
        self.replicas: list[Replica] = list(self._own)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, listener: Listener) -> None:
        self._tasks = [asyncio.create_task(child.run(listener)) for child in self._own]

    async def replace(self, replica: Replica) -> None:
        assert isinstance(replica, ProcessReplica)
        log.event("replica_replaced", replica=replica.name)
        await replica.stop_and_wait()

    async def grow(self) -> None:
        raise NotImplementedError("the number of child processes is fixed")

    async def shrink(self, replica: Replica) -> None:
        raise NotImplementedError("the number of child processes is fixed")

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
