"""Temporary folders of visitors, below one folder of the server, which is removed with it or swept after a crash."""

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
    """``prefix`` names the server's folder in the temporary directory; ``sweep`` finds earlier servers' by it.

    The server holds a lock on its folder for as long as it lives. Sweeps of other servers respect it, and so does
    systemd-tmpfiles.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._home, self._held = "", -1  # the folder, and a descriptor of it that has the lock
        self._lock = threading.Lock()

    def new(self) -> str:
        with self._lock:
            if not self._exists():
                self._release()
                self._home = tempfile.mkdtemp(prefix=self.prefix)
                self._held = os.open(self._home, os.O_RDONLY | os.O_DIRECTORY)
                fcntl.flock(self._held, fcntl.LOCK_SH)
            return tempfile.mkdtemp(dir=self._home)

    def close(self) -> None:
        with self._lock:
            if self._exists():
                shutil.rmtree(self._home, ignore_errors=True)
            self._release()

    def sweep(self, hours: float) -> None:
        """Removes folders that a crashed server left behind ``hours`` ago or earlier."""
        for folder in Path(tempfile.gettempdir()).glob(f"{self.prefix}*"):
            with suppress(OSError):  # of another user, or removed meanwhile
                if folder.lstat().st_mtime < time.time() - hours * 3600:
                    _remove_unless_held(folder)

    def _exists(self) -> bool:
        """Whether the folder exists and is the one that was made: another user may reuse a name that became free."""
        try:
            return self._held >= 0 and os.path.samestat(os.fstat(self._held), os.lstat(self._home))
        except OSError:
            return False

    def _release(self) -> None:
        if self._held >= 0:
            os.close(self._held)
        self._home, self._held = "", -1


def _remove_unless_held(folder: Path) -> None:
    """Raises OSError where a server holds it, or where it is no folder of ours."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(held)


def plain(folder: str | Path, name: str) -> str | None:
    """The path of a plain file that a child process left; None for a link or nothing."""
    path = Path(folder) / name
    return str(path) if path.is_file() and not path.is_symlink() else None
