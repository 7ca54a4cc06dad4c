"""A replica as a child process of the app: ``python -m lib.replicas.child FD`` at one end of a Unix socket.

It lives as long as the app holds the other end: the kernel closes that when the app ends in whatever way.
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
        signal.signal(number, signal.SIG_IGN)  # they come to the app, too, which lets pictures end first
    with contextlib.suppress(OSError, AttributeError):  # Linux; a stopped process would not see the end of the stream
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    try:
        Child(end).serve()
    except Exception:  # what it says cannot be sent any more
        logging.getLogger(__name__).exception("a replica broke")
        os._exit(1)
    os._exit(0)


class Child:
    """Reads in the main thread; one thread tells news, one how it goes."""

    def __init__(self, end: socket.socket) -> None:
        self._end, self._file = end, end.makefile("rb")
        self._send = threading.Lock()
        self._orders: dict[int, Any] = {}
        self._changed = threading.Condition()
        self._news: dict[int, Any] = {}
        self._urgent = False

    def serve(self) -> None:
        """Until the app hangs up."""
        found = _read(self._file)
        if found is None:
            return
        setup, _ = found
        prepare_library(**setup["variables"])  # before torch is imported
        threading.Thread(target=self._alive, daemon=True).start()
        settings = messages.settings_in(setup["setup"])
        if settings.device in ("auto", "cuda"):
            _own_accelerator(setup["number"])
        from lib.replicas.worker import Worker

        self._worker: Any = Worker(settings)
        threading.Thread(target=self._tell, daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()
        while (found := _read(self._file)) is not None:
            message, blob = found
            if "cancel" in message:
                if message["cancel"] in self._orders:
                    self._orders[message["cancel"]].cancel()
            else:
                order = self._worker.take(message, blob, self._wake)
                self._orders[order.number] = order
                if order.ended:  # perhaps told already, and nobody would forget it
                    self._orders.pop(order.number, None)

    def _write(self, data: bytes) -> None:
        with self._send, contextlib.suppress(OSError):  # the app has gone: the main thread sees that
            self._end.sendall(data)

    def _wake(self, order: Any) -> None:
        with self._changed:
            self._news[order.number] = order
            if order.ended and not self._urgent:
                self._urgent = True
                self._changed.notify()
            elif len(self._news) == 1:
                self._changed.notify()

    def _tell(self) -> None:
        """News of all orders together, ends at once and steps every ``GATHER`` seconds."""
        from lib.replicas.worker import GATHER

        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._news)
                self._changed.wait_for(lambda: self._urgent, timeout=GATHER)
                news, self._news, self._urgent = self._news, {}, False
            data = b""
            for order in news.values():
                found, ended = order.take()
                data += found
                if ended:
                    self._orders.pop(order.number, None)
            if data:
                self._write(data)

    def _alive(self) -> None:
        """A frame a second that says nothing but that this process runs, while it imports what takes long, too."""
        while True:
            self._write(messages.frame({}))
            time.sleep(BEAT_SECONDS)

    def _beat(self) -> None:
        from lib.replicas import figures
        from lib.replicas.worker import same

        last: dict[str, Any] = {}
        told = 0.0
        while True:
            beat = self._worker.beat()
            if time.monotonic() - told >= BEAT_SECONDS or not same(beat, last):
                self._write(messages.frame(beat | {"figures": figures.take()}))
                last, told = beat, time.monotonic()
            time.sleep(LOOK_SECONDS)


def _own_accelerator(number: int) -> None:
    """Of the accelerators that this machine has, this process sees one; replicas share where there are fewer."""
    names = visible_devices()
    if not names:
        import torch

        names = [str(n) for n in range(torch.cuda.device_count())]
    if names:
        prepare_library(CUDA_VISIBLE_DEVICES=names[number % len(names)])


def _read(file: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """The next message and its blob; None when the app has hung up."""
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
