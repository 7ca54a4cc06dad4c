"""Files that a visitor may fetch for some hours, under names that nobody can guess.

Knows names, ages and how to answer a request; does not know what is in a file or who asked for it.
No lock: a name is given once, a file appears under it complete or not at all, and removing one that
has gone is no error.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import time
from pathlib import Path

from fastapi.responses import FileResponse, JSONResponse
from fastapi.routing import APIRoute
from starlette.responses import Response

PREFIX = "/onnx-files"
NAME = re.compile(r"[A-Za-z0-9_-]{32}\.[a-z0-9]{1,12}")
UNFINISHED = ".part"

# An answer under way reads its file for a moment after path() allowed it.
GRACE_SECONDS = 60

# Whatever is in the file, a browser stores it and does not show or run it; no cache keeps a copy.
HEADERS = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}


class Shelf:
    """``folder`` is the shelf's own; a file on it can be fetched for ``hours`` after it was put there."""

    def __init__(self, folder: Path, hours: float) -> None:
        assert hours > 0
        self.folder, self.seconds = folder, hours * 3600

    def put(self, source: Path, suffix: str = ".onnx") -> str:
        """Copies ``source`` here and returns the address for it on this host."""
        name = f"{secrets.token_urlsafe(24)}{suffix}"
        assert NAME.fullmatch(name), suffix
        self.folder.mkdir(parents=True, exist_ok=True)
        self.sweep()
        unfinished = self.folder / f"{name}{UNFINISHED}"
        try:
            shutil.copyfile(source, unfinished, follow_symlinks=False)  # the copy's time is now, the source's may be old
            unfinished.replace(self.folder / name)
        finally:
            unfinished.unlink(missing_ok=True)
        return f"{PREFIX}/{name}"

    def path(self, name: str) -> Path | None:
        """The file called ``name``, or None if that is no name, or there is no such file (any more)."""
        if not NAME.fullmatch(name):
            return None
        path = self.folder / name
        age = _age(path)
        return path if age is not None and age < self.seconds else None

    def sweep(self) -> None:
        """Removes what has expired, and what a crash left unfinished."""
        self._remove(self.seconds + GRACE_SECONDS)

    def clear(self) -> None:
        """Removes everything."""
        self._remove(-1)

    def routes(self) -> list[APIRoute]:
        return [APIRoute(f"{PREFIX}/{{name}}", self._answer, methods=["GET"], include_in_schema=False)]

    def _answer(self, name: str) -> Response:
        if path := self.path(name):
            return FileResponse(path, media_type="application/octet-stream", filename=f"model{path.suffix}", headers=HEADERS)
        words = "There is no such file, or its time is over. Please open the model again."
        return JSONResponse({"error": words}, status_code=404, headers=HEADERS)

    def _remove(self, older: float) -> None:
        if not self.folder.is_dir():
            return
        for path in list(self.folder.iterdir()):
            age = _age(path) if NAME.fullmatch(path.name.removesuffix(UNFINISHED)) else None
            if age is not None and age > older:
                path.unlink(missing_ok=True)


def _age(path: Path) -> float | None:
    """Seconds since ``path`` was written; None if it is no plain file. A link is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return time.time() - found.st_mtime if stat.S_ISREG(found.st_mode) else None
