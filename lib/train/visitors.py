"""Maps visitors to the folders of their datasets and runs, each named by a hash of a secret that only the visitor has."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lib.errors import JobFailed

SHARED = "shared"  # owner of everything if TRAIN_SHARED=1, and of runs from the command line
FREE_MB = 2048  # disk space to leave free for other processes


class Visitors:
    """``owner`` in all methods is a value returned by ``owner()``, from which the visitor's key cannot be derived."""

    def __init__(self, home: Path, shared: bool) -> None:
        self.home, self._shared = home, shared

    def owner(self, key: str) -> str:
        """Returns the owner id of ``key``, the secret of a visitor or a session."""
        return SHARED if self._shared else hashlib.sha256(f"owner {key}".encode()).hexdigest()[:32]

    def token(self, owner: str) -> str:
        """Returns the unguessable part of the TensorBoard URL; it grants read access only."""
        return hashlib.sha256(f"board {owner} {self.salt()}".encode()).hexdigest()[:32]

    def runs_of(self, token: str) -> Path | None:
        """Returns the runs folder for a token, or None if the token is invalid."""
        if not re.fullmatch(r"[0-9a-f]{32}", token):
            return None
        matches = (folder for folder in self.folders() if secrets.compare_digest(self.token(folder.name), token))
        return next((folder / "runs" for folder in matches), None)

    def folder(self, owner: str) -> Path:
        assert re.fullmatch(r"[0-9a-f]{32}|shared", owner), owner
        return self.home / "visitors" / owner

    def folders(self) -> Iterator[Path]:
        """Returns the folders of all owners."""
        return (self.home / "visitors").glob("*")

    def salt(self) -> str:
        """Returns this installation's random salt, created on first use."""
        path = self.home / "salt"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError), path.open("x") as file:
                file.write(secrets.token_hex(16))
        return path.read_text()

    def check_disk(self) -> None:
        """Raises JobFailed if the disk is nearly full."""
        self.home.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.home).free >> 20 < FREE_MB:
            raise JobFailed("The disk of this server is nearly full. Delete pictures or runs that you no longer need.")
