"""Size and digests of an artifact, a folder with the files of one format. Digests identify the proven files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lib.errors import JobFailed


def size(folder: Path) -> int:
    """Return the bytes of all files in ``folder``, without links."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and not f.is_symlink())


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file by its path in ``folder``. Raises JobFailed for a link: its target may change."""
    by_path = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise JobFailed("The tool left a link among its files; only regular files can be proven and handed out.")
        if path.is_file():
            with path.open("rb") as file:
                by_path[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return by_path
