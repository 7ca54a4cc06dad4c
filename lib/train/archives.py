"""Unpacks an uploaded zip of images within limits. Independent of classes; opens no images."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lib.archives import Limits, is_litter, opened
from lib.errors import InvalidFile
from lib.train.layout import EXPECTED

# a zip made on macOS has a second member for every image, so more members than images are allowed
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
    """Unpack into a new or empty folder. Returns what was left out, by name, with the reason.

    A single bad member (a link, encrypted, damaged, or larger than ``limits.member``) is left out. Raises InvalidFile if the
    archive as a whole is damaged, is a zip bomb, or has a path that leaves the folder.
    """
    left_out: dict[str, str] = {}
    _recognise(archive)
    into.mkdir(parents=True, exist_ok=True)
    with opened(archive, limits, left_out) as opened_zip:
        windows = not any("/" in name for name in opened_zip.members)
        for name in opened_zip.folders:
            if not is_litter(name.rstrip("/") + "/"):
                _folder(into / _plain(name, windows))
        written: set[str] = set()
        for number, name in enumerate(opened_zip.members):
            if progress is not None and number % 100 == 0:
                progress("Unpacking", number / len(opened_zip.members))
            path = _plain(name, windows)
            if is_litter(path):
                left_out["__MACOSX" if path.startswith("__MACOSX/") else path] = "created by a file manager"
            elif path in written:
                left_out[f"{path} (again)"] = "duplicate file name"
            elif path.endswith("/"):
                _folder(into / path)
            else:
                written.add(path)
                reason = _write(opened_zip, name, into / path)
                if reason is not None:
                    left_out[path] = reason
    return left_out


def _recognise(archive: Path) -> None:
    with archive.open("rb") as file:
        signature = file.read(8)
    if signature[:4] not in (b"PK\x03\x04", b"PK\x05\x06"):
        kind = next(
            (
                description
                for magic, description in OTHERS.items()
                if signature.startswith(magic) and (magic or not signature)
            ),
            "not a zip archive",
        )
        raise InvalidFile(f"The file is {kind}. Pack your pictures as a zip. {EXPECTED}")


def _plain(name: str, windows: bool) -> str:
    r"""Returns the normalized name: UTF-8 if macOS did not set the flag, "/" if Windows wrote "\", composed (NFC)."""
    if not name.isascii():
        with suppress(UnicodeError):  # zipfile decodes names without the UTF-8 flag as cp437
            name = name.encode("cp437").decode()
    if windows:
        name = name.replace("\\", "/")
    if any(part in ("", ".", "..") for part in name.removesuffix("/").split("/")):
        raise InvalidFile(f"A member of the archive is called {name[:80]!r}: only plain names are unpacked.")
    return unicodedata.normalize("NFC", name)


def _folder(path: Path) -> None:
    with suppress(FileExistsError, NotADirectoryError):  # a file has that name: members below it are left out later
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
