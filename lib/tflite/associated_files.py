"""The zip of associated files at the end of a TensorFlow Lite file.

Read within limits, and written as MediaPipe expects it.
"""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path

from lib import archives
from lib.errors import InvalidFile

LIMITS = archives.Limits(members=100, total=64 << 20)
END = b"PK\x05\x06"
WHEN = (1980, 1, 1, 0, 0, 0)  # fixed, so that the same metadata give the same bytes


def has_zip(path: Path) -> bool:
    """Whether the file ends with the end record of a zip. lib/archives validates it."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 22 - 65535))
        tail = file.read()
    end_at = tail.rfind(END)
    return 0 <= end_at <= len(tail) - 22 and end_at + 22 + struct.unpack_from("<H", tail, end_at + 20)[0] == len(tail)


def read(path: Path) -> dict[str, bytes]:
    """Returns the files by name, {} if there are none. Raises InvalidFile for a damaged zip or one over ``LIMITS``."""
    if not has_zip(path):
        return {}
    try:
        with archives.opened(path, LIMITS, appended=True) as archive:
            return {name: archive.read(name, LIMITS.total) for name in archive.members}
    except InvalidFile as error:
        raise InvalidFile(f"The associated files of the TensorFlow Lite file cannot be read. {error.message}") from None


def append(path: Path, files: dict[str, bytes]) -> None:
    """Appends ``files`` as a zip to a file that has none. Uncompressed, since MediaPipe reads members in place."""
    if not files:
        return
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, WHEN), data)
