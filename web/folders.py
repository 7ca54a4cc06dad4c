"""Visitors' folders: made under one of this server's, which goes with it; what a crash left is swept."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from pathlib import Path


class Folders:
    """``prefix`` names the server's folder in the temporary directory; ``sweep`` finds earlier servers' by it."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._home, self._lock = "", threading.Lock()

    def new(self) -> str:
        with self._lock:
            self._home = self._home or tempfile.mkdtemp(prefix=self.prefix)
        return tempfile.mkdtemp(dir=self._home)

    def close(self) -> None:
        with self._lock:
            if self._home:
                shutil.rmtree(self._home, ignore_errors=True)
            self._home = ""

    def sweep(self, hours: float) -> None:
        """Removes folders that a crashed server left behind."""
        for folder in Path(tempfile.gettempdir()).glob(f"{self.prefix}*"):
            try:
                if folder.stat().st_mtime < time.time() - hours * 3600:
                    shutil.rmtree(folder, ignore_errors=True)
            except OSError:
                continue


def plain(folder: str | Path, name: str) -> str | None:
    """The path of a plain file that a child process left; None for a link or nothing."""
    path = Path(folder) / name
    return str(path) if path.is_file() and not path.is_symlink() else None
