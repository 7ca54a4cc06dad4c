"""Whose data sets and runs lie where. A visitor's folder is named by a hash of a secret that only the visitor has."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lib.errors import JobFailed

SHARED = "shared"  # the owner of everything with TRAIN_SHARED=1, and of runs from the command line
FREE_MB = 2048  # of the disk, for what else happens on this machine


class Visitors:
    """``owner`` in all methods is what ``owner()`` makes of a visitor's key: nobody can go back from it."""

    def __init__(self, home: Path, shared: bool) -> None:
        self.home, self._shared = home, shared

    def owner(self, key: str) -> str:
        """``key`` is a visitor's secret, or a session's."""
        return SHARED if self._shared else hashlib.sha256(f"owner {key}".encode()).hexdigest()[:32]

    def token(self, owner: str) -> str:
        """The part of TensorBoard's address that nobody can guess; it gives no right but to look."""
        return hashlib.sha256(f"board {owner} {self.salt()}".encode()).hexdigest()[:32]

    def runs_of(self, token: str) -> Path | None:
        """The folder of runs behind a token."""
        if not re.fullmatch(r"[0-9a-f]{32}", token):
            return None
        found = (folder for folder in self.folders() if secrets.compare_digest(self.token(folder.name), token))
        return next((folder / "runs" for folder in found), None)

    def folder(self, owner: str) -> Path:
        assert re.fullmatch(r"[0-9a-f]{32}|shared", owner), owner
        return self.home / "visitors" / owner

    def folders(self) -> Iterator[Path]:
        """Of all owners."""
        return (self.home / "visitors").glob("*")

    def salt(self) -> str:
        """Random text of this installation, made once."""
        path = self.home / "salt"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError), path.open("x") as file:
                file.write(secrets.token_hex(16))
        return path.read_text()

    def check_disk(self) -> None:
        """Raises JobFailed where the disk is nearly full."""
        self.home.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.home).free >> 20 < FREE_MB:
            raise JobFailed("The disk of this server is nearly full. Delete pictures or runs that you no longer need.")
