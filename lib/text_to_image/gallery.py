"""Store each visitor's pictures on disk for some hours, under unguessable names.

A picture's URL can be shared: it contains a hash of the visitor's key and random digits, never the key itself.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import time
import zipfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

KEY = re.compile(r"[0-9a-f]{32}")
NAME = re.compile(r"\d{1,20}-[0-9a-f]{16}-(?P<plain>[a-z0-9-]{1,80})\.png")
ZIP = re.compile(r"[0-9a-f]{32}\.zip")
MAX_PICTURES = 48
ZIP_SECONDS = 600


class Gallery:
    """Pictures as ``folder/<hash of the visitor>/<time>-<random>-<name>.png``. A visitor's key is 128 random bits."""

    def __init__(self, folder: Path, hours: int) -> None:
        self.folder, self.hours, self.seconds = folder, hours, hours * 3600
        folder.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def new_visitor() -> str:
        """Return a new random key."""
        return secrets.token_hex(16)

    @staticmethod
    def is_key(visitor: str) -> bool:
        """Return whether this is a valid visitor's key. It comes from the browser."""
        return bool(isinstance(visitor, str) and KEY.fullmatch(visitor))

    def add(self, visitor: str, png: bytes, name: str) -> Path:
        """Store a picture and delete the visitor's oldest beyond ``MAX_PICTURES``. ``name``: of a-z, 0-9 and hyphens."""
        home = self._home(visitor)
        path = home / f"{time.time_ns()}-{secrets.token_hex(8)}-{name}.png"
        assert NAME.fullmatch(path.name), name
        for last in (False, True):  # ``sweep`` may remove an empty folder in between
            home.mkdir(exist_ok=True)
            try:
                path.write_bytes(png)
                break
            except FileNotFoundError:
                if last:
                    raise
        for old in self.pictures(visitor)[MAX_PICTURES:]:
            old.unlink(missing_ok=True)
        return path

    def pictures(self, visitor: str) -> list[Path]:
        """Return the visitor's pictures, newest first; none for an unknown or malformed visitor."""
        if not self.is_key(visitor):
            return []
        return sorted(self._home(visitor).glob("*.png"), reverse=True)

    def find(self, visitor: str, name: object) -> Path | None:
        """Return the visitor's picture with that file name, or None."""
        return self.path_of(self._home(visitor).name, name) if self.is_key(visitor) else None

    def path_of(self, home: object, name: object) -> Path | None:
        """Return the file at a URL, or None if the name is not that of a picture or zip, or if the file is gone."""
        if not isinstance(home, str) or not isinstance(name, str):
            return None
        parts = (home, name) if KEY.fullmatch(home) and NAME.fullmatch(name) else ()
        parts = (name,) if home == "zip" and ZIP.fullmatch(name) else parts
        path = self.folder.joinpath(*parts)
        return path if parts and path.is_file() else None

    def remove(self, visitor: str, name: object) -> None:
        """Delete one of the visitor's pictures, if it exists."""
        if (path := self.find(visitor, name)) is not None:
            path.unlink(missing_ok=True)

    def clear(self, visitor: str) -> None:
        """Delete all of the visitor's pictures."""
        if not self.is_key(visitor):
            return
        shutil.rmtree(self._home(visitor), ignore_errors=True)

    def zip_all(self, visitor: str) -> Path:
        """Write all of the visitor's pictures into a zip, which is deleted after ``ZIP_SECONDS``. Returns its path."""
        path, names = self.folder / f"{secrets.token_hex(16)}.zip", Counter[str]()
        with zipfile.ZipFile(path, "w") as archive:  # stored, as PNGs are already compressed
            for picture in self.pictures(visitor):
                plain = plain_name(picture)
                names[plain] += 1
                with suppress(FileNotFoundError):  # deleted meanwhile
                    archive.write(picture, f"{plain}-{names[plain]}.png" if names[plain] > 1 else f"{plain}.png")
        return path

    def sweep(self) -> None:
        """Delete pictures older than GALLERY_HOURS and zips older than ``ZIP_SECONDS``."""
        now = time.time()
        for path in (*self.folder.glob("*/*.png"), *self.folder.glob("*.zip")):
            seconds = ZIP_SECONDS if path.suffix == ".zip" else self.seconds
            with suppress(OSError):  # another sweep deleted it
                if path.stat().st_mtime < now - seconds:
                    path.unlink()
                    if path.parent != self.folder:
                        path.parent.rmdir()  # fails unless it is empty

    def _home(self, visitor: str) -> Path:
        if not self.is_key(visitor):  # never a path
            raise ValueError("a visitor is 32 hexadecimal digits")
        return self.folder / hashlib.sha256(visitor.encode()).hexdigest()[:32]


def plain_name(picture: Path) -> str:
    """Return the file name of a download, without its suffix."""
    match = NAME.fullmatch(picture.name)
    return match["plain"] if match else picture.stem
