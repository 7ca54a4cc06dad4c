"""Tasks for the tests of ``lib/jobs.py``: some answer, most misbehave."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.errors import InvalidFile, InvalidValue, JobFailed
from lib.onnx_inspect import tasks

Progress = Callable[..., None]


def echo(progress: Progress, **arguments: Any) -> dict[str, Any]:
    progress("Half of it", 0.5)
    progress("Nobody knows")
    return {"arguments": arguments, "folder": os.getcwd(), "pid": os.getpid()}


def crash(progress: Progress, number: int = signal.SIGSEGV) -> dict[str, Any]:
    os.kill(os.getpid(), number)
    time.sleep(60)
    return {}


def leave(progress: Progress, status: int) -> dict[str, Any]:
    os._exit(status)


def hang(progress: Progress) -> dict[str, Any]:
    progress(str(os.getpid()))
    time.sleep(600)
    return {}


def spin(progress: Progress) -> dict[str, Any]:
    while True:
        pass


def eat_memory(progress: Progress) -> dict[str, Any]:
    held = []
    while True:
        held.append(bytearray(16 << 20))


def eat_memory_below_python(progress: Progress, size: int) -> dict[str, Any]:
    """As a native library does that checks what malloc returns."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    return {"got": libc.malloc(ctypes.c_size_t(size)) is not None}


def map_memory(progress: Progress, size: int) -> dict[str, Any]:
    """OSError instead of MemoryError."""
    return {"got": len(mmap.mmap(-1, size))}


def eat_disk(progress: Progress) -> dict[str, Any]:
    with open("big", "wb") as file:
        while True:
            file.write(bytes(1 << 20))


def blow_up(progress: Progress) -> dict[str, Any]:
    raise RuntimeError("cannot open /root/secret/place.onnx")


def refuse(progress: Progress, how: str) -> dict[str, Any]:
    if how == "value":
        raise InvalidValue("symbols", "n", "whole numbers")
    raise InvalidFile("Not an ONNX model.")


def give_up(progress: Progress) -> dict[str, Any]:
    raise JobFailed("The tool gave up.")


def not_json(progress: Progress, what: str) -> dict[str, Any]:
    return {"value": {"nan": float("nan"), "object": object(), "digits": 10**5000}[what]}


def too_long(progress: Progress) -> dict[str, Any]:
    return {"value": "x" * (300 << 20)}


def shout(progress: Progress) -> dict[str, Any]:
    """What native code prints must not reach the app's own output."""
    os.write(1, b"to stdout\n")
    os.write(2, b"to stderr\n")
    return {}


def environment(progress: Progress) -> dict[str, Any]:
    return {"os": dict(os.environ), "proc": Path("/proc/self/environ").read_bytes().decode()}


def oom_score(progress: Progress) -> dict[str, Any]:
    return {"adjusted": int(Path("/proc/self/oom_score_adj").read_text())}


def niceness(progress: Progress) -> dict[str, Any]:
    """Its own, that of a child it starts, and the session in which it counts."""
    child = subprocess.check_output([sys.executable, "-c", "import os; print(os.nice(0))"])
    return {"own": os.nice(0), "child": int(child), "session": os.getsid(0)}


def family(progress: Progress, stay: bool = True) -> dict[str, Any]:
    """Starts a child, a grandchild and one that leaves the process group; says who they are."""
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    middle = subprocess.Popen(["sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
    assert middle.stdout is not None
    pids = [os.getpid(), middle.pid, int(middle.stdout.readline())]
    pids.append(subprocess.Popen(sleeper, start_new_session=True).pid)
    progress(" ".join(map(str, pids)))
    time.sleep(600 if stay else 0)
    return {"pids": pids}


def garbage(progress: Progress, what: str) -> dict[str, Any]:
    """What a child may send that has been taken over: its socket is the one that is no pipe."""
    odd = b'{"progress": {"a": 1}, "share": [0]}'
    huge, nan = b'{"progress": "a", "share": %d}' % 10**400, b'{"progress": "a", "share": NaN}'
    data = {
        "noise": bytes(range(200)),
        "long": b"\xff\xff\xff\xff" + bytes(64),
        "deep": (100_000).to_bytes(4, "big") + b"[" * 100_000,
        "list": b"\x00\x00\x00\x02[]",
        "odd progress": len(odd).to_bytes(4, "big") + odd,
        "huge share": len(huge).to_bytes(4, "big") + huge,
        "nan share": len(nan).to_bytes(4, "big") + nan,
        "cut": b"\x00\x00\x01\x00{",
    }[what]
    for fd in os.listdir("/proc/self/fd"):
        if os.path.exists(f"/proc/self/fd/{fd}") and os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"):
            os.write(int(fd), data)
    os._exit(0)


def inspect_many(progress: Progress, files: dict[str, str]) -> dict[str, Any]:
    """Each file through ``inspect``; by name what a job would have answered, an exception of ours as ``broken``."""
    out: dict[str, Any] = {}
    for name, path in files.items():
        for left in Path(".").iterdir():
            left.unlink()
        try:
            report = json.dumps(tasks.inspect(lambda *_: None, path, {}, name, {}), allow_nan=False)
            out[name] = {"report": report}
        except (InvalidFile, InvalidValue) as error:
            out[name] = {"refused": error.message}
        except Exception as error:
            out[name] = {"broken": f"{type(error).__name__}: {error}"[:500] + traceback.format_exc(limit=-3)[-600:]}
    return out
