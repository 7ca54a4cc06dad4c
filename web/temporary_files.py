"""Serves files for some hours, under names that cannot be guessed.

Independent of the files' content and of who requests them. Needs no lock: names are used once, files appear
atomically, and removing a missing file is not an error.
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

# A response may still open its file shortly after ``path`` returned it.
GRACE_SECONDS = 60

# Browsers download the file and never render it; caches keep no copy.
HEADERS = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}


class TemporaryFiles:
    """``folder`` must contain nothing else. Files can be downloaded for ``hours`` after ``put``."""

    def __init__(self, folder: Path, hours: float) -> None:
        assert hours > 0
        self.folder, self.seconds = folder, hours * 3600

    def put(self, source: Path, suffix: str = ".onnx") -> str:
        """Copies ``source`` to the folder and returns its URL path."""
        name = f"{secrets.token_urlsafe(24)}{suffix}"
        assert NAME.fullmatch(name), suffix
        self.folder.mkdir(parents=True, exist_ok=True)
        self.sweep()
        unfinished = self.folder / f"{name}{UNFINISHED}"
        try:
            # copyfile sets the current time; the source may be old
            shutil.copyfile(source, unfinished, follow_symlinks=False)
            unfinished.replace(self.folder / name)
        finally:
            unfinished.unlink(missing_ok=True)
        return f"{PREFIX}/{name}"

    def path(self, name: str) -> Path | None:
        """Returns the path of file ``name``, None if the name is malformed or the file is missing or expired."""
        if not NAME.fullmatch(name):
            return None
        path = self.folder / name
        age = _age(path)
        return path if age is not None and age < self.seconds else None

    def sweep(self) -> None:
        """Removes expired files, and incomplete ones left by a crash."""
        self._remove(self.seconds + GRACE_SECONDS)

    def clear(self) -> None:
        """Removes everything."""
        self._remove(-1)

    def routes(self) -> list[APIRoute]:
        return [APIRoute(f"{PREFIX}/{{name}}", self._answer, methods=["GET"], include_in_schema=False)]

    def _answer(self, name: str) -> Response:
        if path := self.path(name):
            return FileResponse(path, media_type="application/octet-stream", filename=f"model{path.suffix}", headers=HEADERS)
        words = "The file does not exist or has expired. Please open the model again."
        return JSONResponse({"error": words}, status_code=404, headers=HEADERS)

    def _remove(self, older: float) -> None:
        if not self.folder.is_dir():
            return
        for path in list(self.folder.iterdir()):
            age = _age(path) if NAME.fullmatch(path.name.removesuffix(UNFINISHED)) else None
            if age is not None and age > older:
                path.unlink(missing_ok=True)


def _age(path: Path) -> float | None:
    """Returns the seconds since ``path`` was written, None unless it is a regular file (not a symlink)."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return time.time() - status.st_mtime if stat.S_ISREG(status.st_mode) else None
