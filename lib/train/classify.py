"""The app's side of ``lib/train/serving.py``: starts the classification process on demand and sends it requests."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lib.errors import InvalidFile, InvalidValue, JobFailed, NotFound, QueueFull
from lib.job_messages import receive, send
from lib.jobs import Job, Jobs, Limits, Progress
from lib.train.classification import Answer, Classification, Reply
from lib.train.network_cache import PYTORCH, READY, file_for
from lib.train.runs import Run
from lib.train.schema import parse
from lib.train.training import BEST

IDLE = 300.0  # seconds without a request after which the process ends and frees its memory
START, ANSWER = 120.0, 60.0  # seconds
MAX_PICTURES = 32  # images per request
AT_ONCE = 64  # concurrent requests


class Classify:
    """Thread-safe client; each call blocks until its own answer arrives."""

    def __init__(self, memory_mb: int, backbones: Sequence[str] = ()) -> None:
        self._jobs = Jobs(workers=1, waiting=1)
        limit = 10**6
        self._limits = Limits(memory_mb=memory_mb, cpu_seconds=limit, wall_seconds=limit, file_mb=16)
        self._backbones, self._lock = list(backbones), threading.Lock()
        self._folder, self._job, self._alive = "", None, False
        self._places = threading.BoundedSemaphore(AT_ONCE)

    def __call__(
        self, run: Run, pictures: Sequence[str | Path], runtime: str = PYTORCH, monitored: bool = False
    ) -> list[Answer]:
        """Returns an answer for each picture, in order. ``loading_ms`` includes the start of the process.

        ``monitored`` marks production traffic, which counts for drift detection (``lib/train/monitoring/``). Raises
        InvalidValue, InvalidFile, QueueFull, NotFound if the runtime's file has not been exported yet, and JobFailed if the
        process was lost.
        """
        if not pictures:
            raise InvalidFile("Send a picture.")
        if not (run.folder / BEST).is_file():
            raise NotFound("This run has no weights (yet): it has not completed an epoch.")
        if len(pictures) > MAX_PICTURES:
            raise InvalidValue("pictures", f"{len(pictures)} pictures", f"at most {MAX_PICTURES} at once")
        file = file_for(run, runtime)
        if not self._places.acquire(blocking=False):
            raise QueueFull(AT_ONCE)
        try:
            message = {
                "run": str(run.folder),
                "pictures": [str(path) for path in pictures],
                "runtime": runtime,
                "monitored": monitored,
            }
            for last in (False, True):  # retry once: the process may be exiting idle, or may have crashed on another request
                with suppress(OSError, ValueError):
                    began = time.monotonic()
                    address = self._address()
                    starting = time.monotonic() - began
                    reply = parse(Reply, self._ask(address, message))
                    if reply is not None and reply.error:
                        raise JobFailed(reply.error[:2000])
                    if reply is not None and len(reply.pictures) == len(pictures):
                        for answer in reply.pictures:
                            if isinstance(answer, Classification):
                                answer.id, answer.file = None, file.name if file is not None else None
                                # a start always loads the network as well
                                answer.loading_ms = round((starting + reply.loading) * 1000, 1) if reply.loading else None
                        return reply.pictures
                if last:
                    raise JobFailed("The classification process was lost. Please try again.")
            raise AssertionError("unreachable")
        finally:
            self._places.release()

    def close(self) -> None:
        self._jobs.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ask(self, address: str, message: dict[str, Any]) -> dict[str, Any] | None:
        try:
            with socket.socket(socket.AF_UNIX) as end:
                end.settimeout(ANSWER)
                end.connect(address)
                send(end, message)
                return receive(end)
        except TimeoutError:
            self._give_up(address)
            raise

    def _give_up(self, address: str) -> None:
        """Cancel an unresponsive process, which would block every run. The next request starts a new one."""
        with self._lock:
            if self._alive and self._job is not None and address == f"{self._folder}/s":
                self._alive = False
                self._job.cancel()

    def _address(self) -> str:
        """Returns the socket of the running process; start the process if necessary."""
        with self._lock:
            if self._alive:
                return f"{self._folder}/s"
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = tempfile.mkdtemp(prefix="classify-")
            arguments = {"address": f"{self._folder}/s", "idle": IDLE, "backbones": self._backbones}
            job = self._job = self._jobs.submit("lib.train.serving:serve", arguments, limits=self._limits)
            ready = threading.Event()
            self._alive = True
            threading.Thread(target=self._follow, args=(job, ready), name="classify", daemon=True).start()
            deadline = time.monotonic() + START
            while not ready.wait(0.1):
                if not self._alive or time.monotonic() > deadline:
                    job.cancel()
                    raise OSError("it does not start")
            return f"{self._folder}/s"

    def _follow(self, job: Job, ready: threading.Event) -> None:
        try:
            for event in job.events():  # queue position, then "Ready", then the end
                if isinstance(event, Progress) and event.stage == READY:
                    ready.set()
        except Exception:  # the next request starts a new process
            pass
        finally:
            if self._job is job:
                self._alive = False
