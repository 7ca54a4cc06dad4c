"""Unpacks a visitor's zip of pictures with limits. Knows nothing of classes and opens no picture."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lib.archives import Limits, is_litter, opened
from lib.errors import InvalidFile
from lib.train.layout import EXPECTED

# a zip from a Mac has a second member for every picture, so more members than pictures are allowed
OTHERS = {
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\xff\xd8\xff": "a single picture",
    b"\x89PNG": "a single picture",
    b"": "empty",
}
LIMITS = Limits(members=120_000, total=4 << 30, member=64 << 20)


def unpack(
    archive: Path, into: Path, limits: Limits = LIMITS, progress: Callable[[str, float], None] | None = None
) -> dict[str, str]:
    """Unpacks into a folder, new or empty; answers what was left out: name -> why, in words.

    A single odd member (a link, a locked or damaged one, one bigger than ``limits.member``) is left out. Raises
    InvalidFile where the archive as a whole is damaged, a bomb, or has a name that leads out of it.
    """
    left_out: dict[str, str] = {}
    _recognise(archive)
    into.mkdir(parents=True, exist_ok=True)
    with opened(archive, limits, left_out) as opened_zip:
        windows = not any("/" in name for name in opened_zip.members)
        for name in opened_zip.folders:
            if not is_litter(name.rstrip("/") + "/"):
                _folder(into / _plain(name, windows))
        taken: set[str] = set()
        for number, name in enumerate(opened_zip.members):
            if progress is not None and number % 100 == 0:
                progress("Unpacking", number / len(opened_zip.members))
            plain = _plain(name, windows)
            if is_litter(plain):
                left_out["__MACOSX" if plain.startswith("__MACOSX/") else plain] = "put there by a file manager"
            elif plain in taken:
                left_out[f"{plain} (again)"] = "a second file of that name"
            elif plain.endswith("/"):
                _folder(into / plain)
            else:
                taken.add(plain)
                what = _write(opened_zip, name, into / plain)
                if what is not None:
                    left_out[plain] = what
    return left_out


def _recognise(archive: Path) -> None:
    with archive.open("rb") as file:
        head = file.read(8)
    if head[:4] not in (b"PK\x03\x04", b"PK\x05\x06"):
        kind = next(
            (word for mark, word in OTHERS.items() if head.startswith(mark) and (mark or not head)), "not a zip archive"
        )
        raise InvalidFile(f"The file is {kind}. Pack your pictures as a zip. {EXPECTED}")


def _plain(name: str, windows: bool) -> str:
    """The name on disk: UTF-8 where a Mac forgot to say so, "/" where Windows wrote "\\", and composed (NFC)."""
    if not name.isascii():
        with suppress(UnicodeError):  # zipfile reads unmarked names as cp437
            name = name.encode("cp437").decode()
    if windows:
        name = name.replace("\\", "/")
    if any(part in ("", ".", "..") for part in name.removesuffix("/").split("/")):
        raise InvalidFile(f"A member of the archive is called {name[:80]!r}: only plain names are unpacked.")
    return unicodedata.normalize("NFC", name)


def _folder(path: Path) -> None:
    with suppress(FileExistsError, NotADirectoryError):  # a file has that name: what lies in it is left out later
        path.mkdir(parents=True, exist_ok=True)


def _write(opened_zip, name: str, target: Path) -> str | None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        opened_zip.write(name, target)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        return "a file and a folder have the same name"
    except InvalidFile:
        target.unlink(missing_ok=True)
        return "damaged in the archive"
    return None
