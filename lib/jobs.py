"""Runs tasks in child processes with limits. All code that opens uploaded files runs through here.

``Jobs`` keeps one warm fork server (``lib/job_server.py``), so a job starts in milliseconds. A job is
a function named ``package.module:function`` and JSON arguments; it returns progress and a JSON
result. Nothing is pickled in either direction, so a compromised child can only send JSON.
Independent of the tasks. Over 300 lines because the job, the queue and the client side of the protocol belong together.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lib import log
from lib.errors import Cancelled, InvalidFile, InvalidValue, JobFailed, LimitExceeded, NotFound, QueueFull, WorkbenchError
from lib.job_messages import receive, send
from lib.job_metrics import JobMetrics
from lib.settings import harmless_variables

ROOT = Path(__file__).resolve().parent.parent
MAX_WORDS = 2000  # characters of an error message or a stage
GRACE = 60.0  # seconds a silent job may exceed its time limit, including the start of the fork server
EXIT_SECONDS = 5.0  # time for a killed job to exit
SIGNALS = {
    6: "aborted, often for lack of memory",
    8: "arithmetic error",
    9: "killed, often because the machine had no memory left",
    11: "invalid memory access",
}
# spinning OpenMP threads made torch 15 times slower while other jobs were running (docs/decisions.md);
# onnxruntime would send telemetry and leave a device id in the temporary folder
SWITCHES = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_WAIT_POLICY": "PASSIVE", "ORT_DISABLE_TELEMETRY": "1"}
FROM_TASKS = {kind.__name__: kind for kind in (InvalidValue, InvalidFile, NotFound, JobFailed)}  # may be raised by tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a job: MB of private memory, CPU and wall seconds, MB of any file it writes.

    With ``nice`` above 0, other processes run first.
    """

    memory_mb: int = 4096
    cpu_seconds: int = 300
    wall_seconds: int = 300
    file_mb: int = 4096
    nice: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """``stage`` is a description; ``share`` is the completed part from 0 to 1, None if unknown."""

    stage: str
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    value: dict[str, Any]


class Job:
    """A submitted task. Iterate over ``events``; ``cancel`` is thread-safe."""

    def __init__(self, jobs: Jobs, request: dict[str, Any], limits: Limits, metrics: JobMetrics) -> None:
        self._metrics = metrics
        self._jobs, self._request, self._limits = jobs, request, limits
        self._lock, self._cancelled = threading.Lock(), False
        self._socket: socket.socket | None = None
        self._supervised = False  # whether a supervisor holds the other end of the socket
        self._queue_entry = weakref.ref(self, jobs._remove)  # garbage-collected jobs leave the queue

    def cancel(self) -> None:
        """Kills the child process and all its descendants. Does nothing if the job has ended."""
        with self._lock:
            self._cancelled = True
            if self._socket is not None:
                with suppress(OSError):  # the supervisor then kills the job
                    self._socket.shutdown(socket.SHUT_WR if self._supervised else socket.SHUT_RDWR)
        if self._socket is None:
            self._jobs._remove(self._queue_entry)

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def result(self) -> dict[str, Any]:
        """Waits for the job to end and returns its result. Raises like ``events``."""
        for event in self.events():
            if isinstance(event, Result):
                return event.value
        raise AssertionError("a job ends with a result or an error")

    def events(self) -> Iterator[Progress | Result]:
        """Yields Progress and finally the Result. Closing the iterator early cancels the job.

        Raises Cancelled, LimitExceeded, JobFailed, or the WorkbenchError that the task raised.
        """
        with self._metrics.track_failure():
            try:
                yield from self._jobs._wait_for_turn(self)
                self._metrics.begin()
                yield from self._listen()
            finally:
                self.cancel()
                self._jobs._remove(self._queue_entry)

    def _connect(self) -> socket.socket:
        """Returns our end of a socket whose other end is held by a supervisor."""
        for _ in range(2):  # the server may have been about to exit
            ours, theirs = socket.socketpair()
            ours.settimeout(self._limits.wall_seconds + GRACE)  # the supervisor answers before, unless it was killed
            with theirs, self._lock:
                if self._cancelled:
                    ours.close()
                    raise Cancelled()
                self._socket = ours
                # the request is sent over the job's own socket; the server only gets the other end
                server = self._jobs._hand_over(theirs)
            with suppress(OSError):
                self._supervised = receive(ours) is not None
            if self._supervised:
                return ours
            ours.close()
            if not self._cancelled:
                self._jobs._discard_server(server)
        raise JobFailed("The process that starts jobs does not start. The server's log has the reason.")

    def _listen(self) -> Iterator[Progress | Result]:
        with self._connect() as ours, tempfile.TemporaryDirectory(prefix="job-", ignore_cleanup_errors=True) as folder:
            request = self._request | {"folder": folder, "limits": asdict(self._limits)}
            request["log"] = {"format": log.format, "request": self._metrics.origin.id, "kind": self._metrics.kind}
            answer: dict[str, Any] | None = None
            event: dict[str, Any] | None = None
            start = time.monotonic()
            try:
                try:
                    send(ours, request, nan=True)
                    while (event := receive(ours)) is not None and "exit" not in event:
                        if "progress" in event:
                            yield _progress(event)
                        else:
                            answer = event
                except (OSError, ValueError, RecursionError):  # malformed: sent by a compromised child
                    event = None
                if event is None and time.monotonic() - start >= self._limits.wall_seconds:
                    event = {"limit": "wall"}  # killed while it sent a message
                if self._cancelled:
                    raise Cancelled()
                result = Result(self._parse_answer(answer, event))
                self._metrics.end("result")
                yield result
            finally:
                _wait_until_gone(ours)  # before its folder is removed

    def _parse_answer(self, answer: dict[str, Any] | None, end: dict[str, Any] | None) -> dict[str, Any]:
        if answer is not None and isinstance(answer.get("result"), dict):
            return answer["result"]
        if end is not None and end.get("limit") == "wall":
            raise LimitExceeded("time", f"{self._limits.wall_seconds} seconds")
        if answer is not None and "error" in answer:
            raise self._error(str(answer["error"])[:60], answer)
        status = end.get("exit") if end else None
        if status == -24:  # SIGXCPU
            raise LimitExceeded("processor time", f"{self._limits.cpu_seconds} seconds")
        if not isinstance(status, int):
            raise JobFailed("The process that opened the file was lost. Nothing else was affected; please try again.")
        cause = f"signal {-status}: {SIGNALS.get(-status, 'killed')}" if status < 0 else f"status {status}"
        raise JobFailed(f"The process that opened the file crashed ({cause}). Nothing else was affected.")

    def _error(self, name: str, answer: dict[str, Any]) -> WorkbenchError:
        """Converts the error message of a child to an exception."""
        if name in FROM_TASKS:
            error_type = FROM_TASKS[name]
            error = error_type.__new__(error_type)  # skips the constructor, whose arguments are not known
            error.args = (str(answer.get("message"))[:MAX_WORDS],)
            if isinstance(error, InvalidValue):
                error.field, error.given, error.allowed = (
                    str(answer.get(name, ""))[:MAX_WORDS] for name in ("field", "given", "allowed")
                )
            error.by_task = True  # type: ignore[attr-defined]  # the process did not crash
            return error
        if name == "MemoryError":
            return LimitExceeded("memory", f"{self._limits.memory_mb} MB")
        if name == "FileTooBig":
            return LimitExceeded("size of a written file", f"{self._limits.file_mb} MB")
        name = name if name.isidentifier() else "an unknown error"
        return JobFailed(f"The job failed with an internal error ({name}). The server's log has the details.")


_all_jobs: weakref.WeakSet[Jobs] = weakref.WeakSet()


def under_way() -> dict[str, int]:
    """Counts ``running`` and ``waiting`` jobs of all Jobs in this process."""
    states = [jobs.status() for jobs in list(_all_jobs)]
    return {state: sum(state_counts[state] for state_counts in states) for state in ("running", "waiting")}


class Jobs:
    """Runs at most ``workers`` jobs at once, in FIFO order; up to ``waiting`` more may queue."""

    def __init__(
        self, *, workers: int, waiting: int, preload: Sequence[str] = (), python: str | Path = sys.executable
    ) -> None:
        """``python`` may be the interpreter of another environment, whose packages the jobs then use."""
        self._python = str(python)
        self._workers, self._waiting, self._preload = workers, waiting, tuple(preload)
        self._turns = threading.Condition()
        self._queue: list[weakref.ref[Job]] = []  # running jobs first
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._lock = threading.Lock()
        _all_jobs.add(self)

    def start(self) -> None:
        """Starts the fork server, which imports ``preload`` once for all jobs. Does not block."""
        with self._lock:
            self._begin()

    def submit(self, task: str, arguments: dict[str, Any], *, limits: Limits | None = None) -> Job:
        """Queues a job, which starts once its ``events`` are iterated. Raises QueueFull if too many are waiting.

        ``task`` is ``package.module:function``.
        """
        metrics = JobMetrics(task)
        with self._turns:
            if len(self._queue) >= self._workers + self._waiting:
                metrics.end("refused")
                raise QueueFull(len(self._queue) - self._workers)
            job = Job(self, {"task": task, "arguments": arguments}, limits or Limits(), metrics)
            self._queue.append(job._queue_entry)
            return job

    def status(self) -> dict[str, int]:
        with self._turns:
            return {"running": min(len(self._queue), self._workers), "waiting": max(0, len(self._queue) - self._workers)}

    def close(self) -> None:
        """Kills all jobs and the fork server."""
        with self._turns:
            queued = list(self._queue)
        for place in queued:
            if (job := place()) is not None:
                job.cancel()
        with self._lock:
            self._stop()

    def _begin(self) -> None:
        if self._server is not None and self._server.poll() is None:
            return
        self._stop()
        self._control, theirs = socket.socketpair()
        variables = harmless_variables() | SWITCHES | {"PYTHONPATH": str(ROOT)}
        try:
            self._server = self._spawn(theirs, variables)
        except OSError as error:  # its message contains paths
            self._stop()
            reason = error.strerror or type(error).__name__
            raise JobFailed(
                f"The process that starts jobs cannot be started: {reason}. Restarting the app may help."
            ) from error
        finally:
            theirs.close()

    def _spawn(self, theirs: socket.socket, variables: dict[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self._python, "-m", "lib.job_server", str(theirs.fileno()), *self._preload],
            pass_fds=[theirs.fileno()],
            env=variables | {"HOME": tempfile.gettempdir()},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # Ctrl-C must only reach the app, which then closes the server. Not a new session: Linux divides the
            # CPU between sessions first (sched_autogroup), and nice only counts within one.
            process_group=0,
        )

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()  # the server exits when the socket is closed
        if self._server is not None:
            with suppress(subprocess.TimeoutExpired):
                self._server.wait(5)
            if self._server.poll() is None:
                self._server.kill()
                self._server.wait()
        self._server = self._control = None

    def _hand_over(self, end: socket.socket) -> subprocess.Popen[bytes]:
        with self._lock:
            self._begin()  # restarts it if it has died
            assert self._control is not None and self._server is not None
            with suppress(OSError):  # the server is exiting, so the job gets no answer
                socket.send_fds(self._control, [b"j"], [end.fileno()])
            return self._server

    def _discard_server(self, server: subprocess.Popen[bytes]) -> None:
        """Stops a server that does not answer, unless another job already has. The next job starts a new one."""
        with self._lock:
            if server is self._server:
                self._stop()

    def _wait_for_turn(self, job: Job) -> Iterator[Progress]:
        last_place = 0
        while True:
            with self._turns:
                if job.cancelled:
                    raise Cancelled()
                place = self._queue.index(job._queue_entry) - self._workers + 1
                if place <= 0:
                    return
                if place == last_place:
                    self._turns.wait(30)
                    continue
                last_place = place
            yield Progress(f"Waiting, number {place} in the queue")

    def _remove(self, place: weakref.ref[Job]) -> None:
        with self._turns:
            with suppress(ValueError):
                self._queue.remove(place)
            self._turns.notify_all()


def _progress(event: dict[str, Any]) -> Progress:
    share = event.get("share")  # JSON integers may exceed float, and Python's parser accepts NaN
    valid = isinstance(share, int | float) and 0 <= share <= 1
    return Progress(str(event["progress"])[:MAX_WORDS], float(share) if valid else None)


def _wait_until_gone(end: socket.socket) -> None:
    """Kills the job if it is still alive, and waits until it and its supervisor have closed their end."""
    with suppress(OSError):
        end.settimeout(EXIT_SECONDS)
        end.shutdown(socket.SHUT_WR)
        while end.recv(1 << 20):
            pass
