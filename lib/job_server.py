"""Server side of ``lib/jobs.py``: a fork server, a supervisor for each job, and the job itself.

``python -m lib.job_server FD MODULE...`` imports the modules once and then forks for every socket that
arrives on FD. Each job has a supervisor, a process that only waits: it kills the job and its children when
the app closes the socket or the time limit is reached, and reports how the job ended. So a job dies with
the app even if the app is killed. This contains accidents and simple attacks. It is not a sandbox: a job runs
as the app's user, so code that takes over the child has that user's permissions.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import os
import resource
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from typing import Any

from lib import log as lines
from lib.errors import InvalidValue, WorkbenchError, out_of_memory
from lib.job_messages import receive, send

DIE_WITH_PARENT, ADOPT_ORPHANS = 1, 36  # linux/prctl.h: PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER
LOGGED = 4000  # characters of a traceback, whose text may come from the upload


def serve(control: socket.socket) -> None:
    """Forks a supervisor for every socket received over ``control``, until that is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors are reaped by the kernel
    while True:
        data, fds, *_ = socket.recv_fds(control, 1, 1)
        if not data:
            return
        if os.fork() == 0:
            control.close()
            with suppress(OSError, ValueError):
                _supervise(socket.socket(fileno=fds[0]))
            os._exit(0)
        os.close(fds[0])


def _supervise(app: socket.socket) -> None:
    """Starts the job, then waits until it ends, the app closes the socket, or the time limit is reached."""
    send(app, {"supervisor": os.getpid()})
    request = receive(app)
    if request is None:
        return
    _prctl(ADOPT_ORPHANS, 1)
    child_ended, wakeup = os.pipe()  # readable when a child has ended
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    deadline = time.monotonic() + request["limits"]["wall_seconds"]
    job = os.fork()
    if job == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _prctl(DIE_WITH_PARENT, signal.SIGKILL)
        _run_job(app, request)
    with suppress(OSError):
        os.setpgid(job, job)  # the job does the same; the first call wins
    late = False
    while not (ended := os.waitpid(job, os.WNOHANG))[0]:
        ready, *_ = select.select([child_ended, app], [], [], max(0.0, deadline - time.monotonic()))
        late = not ready
        if late or app in ready:
            os.kill(job, signal.SIGKILL)
            ended = os.waitpid(job, 0)
            break
        os.read(child_ended, 4096)
    with suppress(OSError):
        os.killpg(job, signal.SIGKILL)  # the children of the job, too
    _kill_orphans()
    shutil.rmtree(request["folder"], ignore_errors=True)  # the app also removes it, unless it was killed
    send(app, {"exit": os.waitstatus_to_exitcode(ended[1]), "limit": "wall" if late else None})


def _kill_orphans() -> None:
    """Kills descendants that left the job's process group; they were reparented to the supervisor."""
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError, ValueError), open(f"/proc/{pid}/stat") as file:
                if int(file.read().rpartition(")")[2].split()[1]) == os.getpid():
                    os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.002)


def _run_job(app: socket.socket, request: dict[str, Any]) -> None:
    """Runs in the job: applies the limits, runs the task, sends one answer, and never returns."""
    try:
        os.setpgid(0, 0)
        _limit(request["limits"])
        log = os.fdopen(os.dup(2), "w", errors="backslashreplace")
        nowhere = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):  # native libraries may print text that visitors must not see
            os.dup2(nowhere, fd)
        os.chdir(request["folder"])
        tempfile.tempdir = request["folder"]
        module, function = request["task"].split(":")

        def progress(stage: str, share: float | None = None) -> None:
            send(app, {"progress": stage, "share": share})

        task = getattr(importlib.import_module(module), function)
        send(app, {"result": task(progress=progress, **request["arguments"])})
        os._exit(0)
    except WorkbenchError as error:
        answer = {"error": type(error).__name__, "message": error.message[:LOGGED]}
        if isinstance(error, InvalidValue):  # pages use their own label of the field
            answer |= {"field": error.field, "given": str(error.given)[:LOGGED], "allowed": error.allowed[:LOGGED]}
    except BaseException as error:
        code = error.errno if isinstance(error, OSError) else 0
        answer = {"error": "FileTooBig" if code == errno.EFBIG else type(error).__name__}  # Python ignores SIGXFSZ
        if code == errno.ENOSPC:
            answer = {"error": "JobFailed", "message": "The server's disk is full."}
        if out_of_memory(error):
            answer = {"error": "MemoryError"}
        with suppress(BaseException):  # for the operator; the visitor gets a short message
            print(_for_the_log(error, request.get("log", {})), file=log, flush=True)
    for pause in (0.01, 0.1, 1.0):
        try:
            send(app, answer)
            os._exit(0)
        except BaseException:  # no memory for the message, here or in the kernel; other jobs free theirs when they end
            time.sleep(pause)
    os._exit(70)


def _for_the_log(error: BaseException, wanted: dict[str, str]) -> str:
    """Formats the traceback with the id of the request. JSON omits the exception's message."""
    if wanted.get("format") == lines.JSON:
        origin = {"request": wanted.get("request", ""), "kind": wanted.get("kind", "")}
        return lines.line("ERROR", "job_broke", **origin, **lines.failure(error))
    text = traceback.format_exc(limit=-4)[-LOGGED:]
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def _limit(limits: dict[str, int]) -> None:
    """Applies the resource limits to the current process."""
    os.nice(limits["nice"])
    megabyte = 1 << 20
    rlimits = {
        # private writable memory; file mappings do not count, so large models can still be mapped
        resource.RLIMIT_DATA: limits["memory_mb"] * megabyte,
        resource.RLIMIT_CPU: limits["cpu_seconds"],
        resource.RLIMIT_FSIZE: limits["file_mb"] * megabyte,
        resource.RLIMIT_NOFILE: 256,
        resource.RLIMIT_CORE: 0,
    }
    for kind, value in rlimits.items():
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # one second between SIGXCPU, whose status shows the reason, and SIGKILL
        last = value + 1 if kind == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else value
        resource.setrlimit(kind, (value, last))
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # if the machine runs out of memory, the kernel kills the job before the app


def _prctl(option: int, value: int) -> None:
    """Linux only. On other systems, stray children of a job outlive it."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    end = socket.socket(fileno=int(sys.argv[1]))
    for name in sys.argv[2:]:
        importlib.import_module(name)
    serve(end)
