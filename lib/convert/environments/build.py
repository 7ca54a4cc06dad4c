"""Run one step of building an environment (venv, pip) in a child process that can be killed."""

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

PATIENCE = 0.5  # seconds without output after which progress is reported again, so that a stop is noticed
KEPT = 40  # last lines of output to keep
WORDS = 300  # maximum characters of a line for visitors


def run(command: Sequence[str], line: Callable[[str], None], *, what: str, hold: int) -> None:
    """Run ``command`` and wait for it. ``line`` is called with each line of output, and with "" while there is none.

    An exception of ``line`` kills the command and its children. ``hold``: a file descriptor that the command inherits, so
    that a lock on it lasts until the command has ended, even if the app is killed.
    Raises JobFailed with the most useful line of output.
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
                text = printed.get(timeout=PATIENCE)
            except queue.Empty:
                text = ""
            if text is None:
                break
            if text:
                last.append(text)
            line(text)
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
    """Return the line that explains a failure: pip's first error, else the last line; without paths and URLs."""
    text = next((t for t in lines if t.startswith("ERROR:")), lines[-1] if lines else "no output")
    text = " ".join("…" if re.search(r"[/\\]", word) else word for word in text.split())
    return text[:WORDS]
