"""Temporary folders of visitors, in one parent folder of the server that is removed on exit, or swept after a crash."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path


class Folders:
    """Creates temporary folders in a parent folder of the server, whose name starts with ``prefix``.

    The server holds a lock on its folder while it runs. Sweeps of other servers, which find it by the prefix, respect
    the lock, and so does systemd-tmpfiles.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._home, self._held = "", -1  # the folder, and its file descriptor, which holds the lock
        self._lock = threading.Lock()

    def new(self) -> str:
        """Creates a folder and returns its path."""
        with self._lock:
            if not self._exists():
                self._release()
                self._home = tempfile.mkdtemp(prefix=self.prefix)
                self._held = os.open(self._home, os.O_RDONLY | os.O_DIRECTORY)
                fcntl.flock(self._held, fcntl.LOCK_SH)
            return tempfile.mkdtemp(dir=self._home)

    def close(self) -> None:
        """Removes all folders of this server."""
        with self._lock:
            if self._exists():
                shutil.rmtree(self._home, ignore_errors=True)
            self._release()

    def sweep(self, hours: float) -> None:
        """Removes folders left behind by crashed servers at least ``hours`` ago."""
        for folder in Path(tempfile.gettempdir()).glob(f"{self.prefix}*"):
            with suppress(OSError):  # owned by another user, or removed in the meantime
                if folder.lstat().st_mtime < time.time() - hours * 3600:
                    _remove_unless_held(folder)

    def _exists(self) -> bool:
        """Whether the folder exists and is the one created here: another user may have reused the name."""
        try:
            return self._held >= 0 and os.path.samestat(os.fstat(self._held), os.lstat(self._home))
        except OSError:
            return False

    def _release(self) -> None:
        if self._held >= 0:
            os.close(self._held)
        self._home, self._held = "", -1


def _remove_unless_held(folder: Path) -> None:
    """Raises OSError if a server holds the lock, or if ``folder`` is not a directory or belongs to another user."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def plain(folder: str | Path, name: str) -> str | None:
    """Returns the path of a regular file written by a child process, None if it is a symlink or missing."""
    path = Path(folder) / name
    return str(path) if path.is_file() and not path.is_symlink() else None
