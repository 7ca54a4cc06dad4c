"""A replica as a child process of the app: ``python -m lib.replicas.replica_process FD``, on one end of a Unix socket.

It runs as long as the app holds the other end, which the kernel closes when the app exits or is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
import threading
import time
from typing import Any, BinaryIO

from lib.replicas import messages
from lib.settings import prepare_library, visible_devices

BEAT_SECONDS, LOOK_SECONDS = 1.0, 0.1
DIE_WITH_PARENT = 1  # linux/prctl.h: PR_SET_PDEATHSIG


def main(fd: int) -> None:
    end = socket.socket(fileno=fd)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the app gets them too and drains its requests first
    with contextlib.suppress(
        OSError, AttributeError
    ):  # Linux only; for a stopped process, which would not see the end of the stream
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    try:
        ReplicaProcess(end).serve()
    except Exception:  # replies could no longer be sent
        logging.getLogger(__name__).exception("a replica broke")
        os._exit(1)
    os._exit(0)


class ReplicaProcess:
    """Reads messages in the main thread. Other threads send events and heartbeats."""

    def __init__(self, end: socket.socket) -> None:
        self._end, self._file = end, end.makefile("rb")
        self._send = threading.Lock()
        self._orders: dict[int, Any] = {}
        self._changed = threading.Condition()
        self._updated: dict[int, Any] = {}
        self._urgent = False

    def serve(self) -> None:
        """Serve until the app closes the socket."""
        received = _read(self._file)
        if received is None:
            return
        setup, _ = received
        prepare_library(**setup["variables"])  # before torch is imported
        threading.Thread(target=self._send_keepalives, daemon=True).start()
        settings = messages.settings_in(setup["setup"])
        if settings.device in ("auto", "cuda"):
            _own_accelerator(setup["number"])
        from lib.replicas.worker import Worker

        self._worker: Any = Worker(settings)
        threading.Thread(target=self._send_events, daemon=True).start()
        threading.Thread(target=self._send_heartbeats, daemon=True).start()
        while (received := _read(self._file)) is not None:
            message, blob = received
            if "cancel" in message:
                if message["cancel"] in self._orders:
                    self._orders[message["cancel"]].cancel()
            else:
                order = self._worker.take(message, blob, self._wake)
                self._orders[order.number] = order
                if order.ended:  # its end may have been sent before it was registered here
                    self._orders.pop(order.number, None)

    def _write(self, data: bytes) -> None:
        with self._send, contextlib.suppress(OSError):  # the app closed the socket; the main thread notices
            self._end.sendall(data)

    def _wake(self, order: Any) -> None:
        with self._changed:
            self._updated[order.number] = order
            if order.ended and not self._urgent:
                self._urgent = True
                self._changed.notify()
            elif len(self._updated) == 1:
                self._changed.notify()

    def _send_events(self) -> None:
        """Send the events of all orders in one write: ends immediately, steps every ``GATHER`` seconds."""
        from lib.replicas.worker import GATHER

        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._updated)
                self._changed.wait_for(lambda: self._urgent, timeout=GATHER)
                updated, self._updated, self._urgent = self._updated, {}, False
            data = b""
            for order in updated.values():
                frames_of_order, ended = order.take_events()
                data += frames_of_order
                if ended:
                    self._orders.pop(order.number, None)
            if data:
                self._write(data)

    def _send_keepalives(self) -> None:
        """Send an empty frame every second, also during long imports, so that the app knows that this process runs."""
        while True:
            self._write(messages.frame({}))
            time.sleep(BEAT_SECONDS)

    def _send_heartbeats(self) -> None:
        from lib.replicas import replica_metrics
        from lib.replicas.worker import equal_json

        last: dict[str, Any] = {}
        last_sent = 0.0
        while True:
            heartbeat = self._worker.heartbeat()
            if time.monotonic() - last_sent >= BEAT_SECONDS or not equal_json(heartbeat, last):
                self._write(messages.frame(heartbeat | {"figures": replica_metrics.pop_observations()}))
                last, last_sent = heartbeat, time.monotonic()
            time.sleep(LOOK_SECONDS)


def _own_accelerator(number: int) -> None:
    """Restrict this process to one of the machine's accelerators. Replicas share them if there are fewer."""
    names = visible_devices()
    if not names:
        import torch

        names = [str(n) for n in range(torch.cuda.device_count())]
    if names:
        prepare_library(CUDA_VISIBLE_DEVICES=names[number % len(names)])


def _read(file: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """Return the next message and its blob, or None when the app has closed the socket."""
    head = file.read(messages.HEAD.size)
    if len(head) < messages.HEAD.size:
        return None
    length, size = messages.lengths(head)
    data = file.read(length + size)
    if len(data) < length + size:
        return None
    return next(messages.frames(head + data))


if __name__ == "__main__":
    main(int(sys.argv[1]))
