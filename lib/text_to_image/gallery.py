"""Each visitor's own pictures, on disk for some hours, under a name nobody else can guess."""

from __future__ import annotations

import re
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

KEY = re.compile(r"[0-9a-f]{32}")
MOST = 24


class Gallery:
    """``folder/<visitor>/<time>-<seed>.png``. A visitor is 128 random bits."""

    def __init__(self, folder: Path, hours: int) -> None:
        self.folder, self.seconds = folder, hours * 3600
        folder.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def new_visitor() -> str:
        return secrets.token_hex(16)

    @staticmethod
    def knows(visitor: str) -> bool:
        """Whether this is a visitor's key at all (it comes from the browser)."""
        return bool(isinstance(visitor, str) and KEY.fullmatch(visitor))

    def add(self, visitor: str, png: bytes, name: str) -> Path:
        """Stores the picture and forgets the visitor's oldest beyond ``MOST``."""
        home = self._home(visitor)
        path = home / f"{time.time_ns()}-{name}.png"
        for last in (False, True):  # ``sweep`` may remove an empty folder in between
            home.mkdir(exist_ok=True)
            try:
                path.write_bytes(png)
                break
            except FileNotFoundError:
                if last:
                    raise
        for old in self.pictures(visitor)[MOST:]:
            old.unlink(missing_ok=True)
        return path

    def pictures(self, visitor: str) -> list[Path]:
        """Newest first; none for an unknown or malformed visitor."""
        if not self.knows(visitor):
            return []
        return sorted(self._home(visitor).glob("*.png"), reverse=True)

    def clear(self, visitor: str) -> None:
        if not self.knows(visitor):
            return
        shutil.rmtree(self._home(visitor), ignore_errors=True)

    def sweep(self) -> None:
        """Forgets what is older than the setting."""
        limit = time.time() - self.seconds
        for path in self.folder.glob("*/*.png"):
            with suppress(OSError):  # another sweep was quicker
                if path.stat().st_mtime < limit:
                    path.unlink()
                    path.parent.rmdir()  # refuses while others are in it

    def _home(self, visitor: str) -> Path:
        if not self.knows(visitor):  # never a path
            raise ValueError("a visitor is 32 hexadecimal digits")
        return self.folder / visitor
