"""Runs one step of making an environment (venv, pip) in a child process that a stop can kill. Knows no environment."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from lib.errors import JobFailed

PATIENCE = 0.5  # seconds without a line after which progress is told again, so that a stop is noticed
KEPT = 40  # last lines of a step's output
WORDS = 300  # characters of such a line for visitors


def run(command: Sequence[str], line: Callable[[str], None], *, what: str, hold: int) -> None:
    """Waits for ``command``; ``line`` gets each line it prints, and "" while it prints none.

    Whatever ``line`` raises kills the command and everything it started. ``hold`` is a file descriptor that the
    command keeps open: a lock on it lasts until the command has ended, even where the app is killed.
    Raises JobFailed with the command's last words.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=[hold],
        start_new_session=True,
    )
    printed: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(process, printed), daemon=True)
    reader.start()
    last: deque[str] = deque(maxlen=KEPT)
    try:
        while True:
            try:
                said = printed.get(timeout=PATIENCE)
            except queue.Empty:
                said = ""
            if said is None:
                break
            if said:
                last.append(said)
            line(said)
        status = process.wait()
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        reader.join(PATIENCE)
    if status != 0:
        raise JobFailed(f"{what} failed: {useful(last)}")


def _read(process: subprocess.Popen[str], printed: queue.SimpleQueue[str | None]) -> None:
    assert process.stdout is not None
    with suppress(ValueError), process.stdout as lines:
        for text in lines:
            printed.put(text.strip())
    printed.put(None)


def useful(lines: Sequence[str]) -> str:
    """The line that says why: the first that pip calls an error, else the last; without paths and addresses."""
    text = next((t for t in lines if t.startswith("ERROR:")), lines[-1] if lines else "it said nothing")
    text = " ".join("…" if re.search(r"[/\\]", word) else word for word in text.split())
    return text[:WORDS]
