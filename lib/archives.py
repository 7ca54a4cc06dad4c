"""Validates and unpacks uploaded zip archives within limits. Independent of what they contain.

A zip describes its members twice, in local headers and in the central directory, and readers differ in which one they
use. Here both must agree, members must follow each other without gaps or overlap, and names must be plain, so that
every later reader (zipfile, PyTorch's own, Keras) sees the same members.

With ``left_out``, invalid single members (links, encrypted or oversized ones) are skipped, and ``left_out`` records
why. Errors of the archive as a whole always raise. Over 300 lines because all checks of the format are kept in this
one file.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lib.errors import InvalidFile

CHUNK = 1 << 20
END, END64, LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
LOCAL = struct.Struct("<4sHHHHHLLLHH")
MAX_NAME, MAX_DEPTH, MAX_TABLE = 400, 12, 16 << 20
AGAIN = "Recreate the archive with a standard zip tool."
NESTED = (b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"BZh", b"\xfd7zXZ", b"Rar!")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits on the number of members, the unpacked bytes and the compression ratio (unpacked / packed).

    ``ratio`` only applies from ``free`` unpacked bytes. ``member``, the size of a single file, only applies when
    invalid members are left out.
    """

    members: int = 10_000
    total: int = 4 << 30
    member: int = 4 << 30
    ratio: int = 100
    free: int = 16 << 20


class Archive:
    """An open zip with validated members: ``members`` maps file names to entries, ``folders`` lists the folders."""

    def __init__(self, file: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> None:
        self._file, self.members = file, {e.filename: e for e in entries if not e.is_dir()}
        self.folders = [e.filename for e in entries if e.is_dir()]

    def read(self, name: str, max_bytes: int = 64 << 20) -> bytes:
        """Returns a member's bytes. Raises InvalidFile if it is larger than ``max_bytes`` or damaged."""
        if self.members[name].file_size > max_bytes:
            size = f"{self.members[name].file_size:,} bytes; at most {max_bytes:,}"
            raise InvalidFile(f"{_quoted(name)} in the archive has {size}.")
        parts: list[bytes] = []
        self._stream(name, parts.append)
        return b"".join(parts)

    def head(self, name: str, size: int = 64) -> bytes:
        """Returns up to ``size`` bytes from the start of a member. Raises InvalidFile if it is damaged."""
        with self._damage_as_invalid_file(name), self._file.open(self.members[name]) as file:
            return file.read(size)

    def write(self, name: str, target: Path) -> None:
        """Unpacks a member to a new file and verifies its checksum."""
        with target.open("xb") as out:
            self._stream(name, out.write)

    @contextmanager
    def stream(self, name: str):
        """Opens a member as a readable file."""
        with self._damage_as_invalid_file(name), self._file.open(self.members[name]) as file:
            yield file

    def _stream(self, name: str, take: Callable[[bytes], object]) -> None:
        member, size = self.members[name], 0
        with self._damage_as_invalid_file(name), self._file.open(member) as file:
            while data := file.read(CHUNK):
                size += len(data)
                if size > member.file_size:
                    raise InvalidFile(f"{_quoted(name)} in the archive is longer than its zip header says. {AGAIN}")
                take(data)
        if size != member.file_size:
            raise InvalidFile(f"{_quoted(name)} in the archive is shorter than its zip header says. {AGAIN}")

    @contextmanager
    def _damage_as_invalid_file(self, name: str):
        try:
            yield
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error, ValueError, OSError) as error:
            if isinstance(error, InvalidFile) or (isinstance(error, OSError) and error.errno):
                raise
            raise InvalidFile(f"{_quoted(name)} in the archive is damaged. Upload the whole file again.") from None


@contextmanager
def opened(path: Path, limits: Limits | None = None, left_out: dict[str, str] | None = None, *, appended: bool = False):
    """Yields an ``Archive`` whose central directory, local headers and names are consistent. Raises InvalidFile.

    ``appended``: the archive is at the end of another file, whose bytes precede its first member. ``left_out`` maps
    the names of skipped members to the reason; without it, such members raise.
    """
    limits = limits or Limits()
    with path.open("rb") as raw:
        start = _table_start(raw, limits, appended)
        try:
            file = zipfile.ZipFile(raw)
            entries = file.infolist()
        except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, struct.error, UnicodeDecodeError):
            raise InvalidFile("The zip archive is damaged or was cut off. Upload the whole file again.") from None
        with file:
            if len(entries) > limits.members:
                raise InvalidFile(f"The archive has {len(entries):,} members; at most {limits.members:,} are unpacked.")
            kept = entries if left_out is None else _without_rejected(entries, limits, left_out)
            _names(kept, strict=left_out is None)
            _sizes(kept, limits)
            _headers(raw, entries, start, min((e.header_offset for e in entries), default=start) if appended else 0)
            yield Archive(file, kept)


def is_litter(name: str) -> bool:
    """Whether a member is a file that file managers add to archives (``.DS_Store``, ``__MACOSX/``, ...)."""
    last = name.rpartition("/")[2]
    return name.startswith("__MACOSX/") or last in (".DS_Store", "Thumbs.db", "desktop.ini") or last.startswith("._")


def _quoted(name: str) -> str:
    return repr(name[:80])


def _table_start(raw: IO[bytes], limits: Limits, appended: bool) -> int:
    """Returns the offset of the central directory. Limits its size before zipfile reads all of it."""
    size = raw.seek(0, os.SEEK_END)
    tail_at = max(0, size - 22 - 65535 - 76)
    raw.seek(tail_at)
    tail = raw.read()
    at = tail.rfind(END)
    if at < 0 or len(tail) - at < 22:
        raise InvalidFile("The zip archive is cut off: its central directory is missing. Upload the whole file again.")
    here, first, count_here, count, length, start, comment = struct.unpack("<4xHHHHLLH", tail[at : at + 22])
    if at + 22 + comment != len(tail):
        raise InvalidFile(f"The zip archive has two end records, or data after its end record. {AGAIN}")
    if here or first or count_here != count:
        raise InvalidFile("The zip archive is one part of several; upload one whole archive.")
    end = tail_at + at
    if at >= 76 and tail[at - 20 : at - 16] == LOCATOR64:
        record = tail[at - 76 : at - 20]
        if record[:4] != END64 or struct.unpack("<8xQ4x", tail[at - 20 : at])[0] != end - 76:
            raise InvalidFile(f"The zip archive has an inconsistent end record. {AGAIN}")
        count, length, start = struct.unpack("<32xQQQ", record)
        end -= 76
    if count > limits.members:
        raise InvalidFile(f"The archive has {count:,} members; at most {limits.members:,} are unpacked.")
    if length > MAX_TABLE:
        raise InvalidFile(f"The central directory of the zip archive has {length:,} bytes; at most {MAX_TABLE:,} are read.")
    if appended and start + length < end:
        start = end - length  # offsets are relative to the start of the archive, as in zipfile
    if start + length != end:
        raise InvalidFile(f"The zip archive has data before its members or after its central directory. {AGAIN}")
    return start


def _without_rejected(entries: list[zipfile.ZipInfo], limits: Limits, left_out: dict[str, str]) -> list[zipfile.ZipInfo]:
    kept = []
    for entry in entries:
        reason = _rejection(entry, limits)
        if reason is None:
            kept.append(entry)
        else:
            left_out[entry.filename] = reason
    return kept


def _rejection(e: zipfile.ZipInfo, limits: Limits) -> str | None:
    """Returns the reason why this member is rejected, or None."""
    mode, name = e.external_attr >> 16, e.filename.removesuffix("/")
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "link: not followed" if stat.S_ISLNK(mode) else "not a regular file"
    if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in e.orig_filename):
        return "its name contains control characters: rename it"
    if len(name) > MAX_NAME or any(len(part.encode()) > 255 for part in name.split("/")):
        return "its name is too long: shorten it"
    if name.count("/") >= MAX_DEPTH:
        return f"more than {MAX_DEPTH} folders deep"
    if e.flag_bits & 0x2041:
        return "encrypted: not unpacked"
    if e.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "unsupported compression: use standard zip (deflate)"
    if e.file_size > limits.member:
        return f"{e.file_size:,} bytes; at most {limits.member:,} per file are unpacked"
    if e.file_size > limits.free and e.file_size > e.compress_size * limits.ratio:
        return f"it would unpack to over {limits.ratio} times its size, as in a zip bomb"
    return None


def _names(entries: list[zipfile.ZipInfo], strict: bool) -> None:
    """Checks member names. ``strict`` also rejects names that some systems cannot hold or do not distinguish."""
    seen: dict[str, str] = {}
    for entry in entries:
        name = entry.orig_filename.removesuffix("/")
        parts = name.split("/")
        invalid = not name or any(part in ("", ".", "..") for part in parts)
        if strict:
            invalid = (
                invalid
                or len(name) > MAX_NAME
                or len(parts) > MAX_DEPTH
                or any(len(part.encode(errors="replace")) > 255 for part in parts)
                or any(c in '\\:*?"<>|' or ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in name)
                or entry.filename != entry.orig_filename
            )
        if invalid:
            raise InvalidFile(
                f"A member of the archive is called {_quoted(entry.orig_filename)}: only plain names are unpacked."
            )
        low = name.casefold() if strict else name
        if low in seen:
            raise InvalidFile(f"Two members of the archive are called {_quoted(name)} and {_quoted(seen[low])}. {AGAIN}")
        seen[low] = name
        mode = entry.external_attr >> 16
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise InvalidFile(f"{_quoted(name)} in the archive is a link or a special file; only files are unpacked.")
        if stat.S_ISDIR(mode) and not entry.is_dir() and entry.file_size:
            raise InvalidFile(f"{_quoted(name)} in the archive is a folder with content. {AGAIN}")
    files = {e.filename.casefold() if strict else e.filename for e in entries if not e.is_dir()}
    for low in seen:
        parts = low.split("/")
        if any("/".join(parts[:k]) in files for k in range(1, len(parts))):
            raise InvalidFile(f"{_quoted(seen[low])} is inside a member of the archive that is a file. {AGAIN}")


def _sizes(entries: list[zipfile.ZipInfo], limits: Limits) -> None:
    total = sum(e.file_size for e in entries)
    packed = sum(e.compress_size for e in entries)
    if total > limits.total:
        raise InvalidFile(f"Unpacked, the archive has {total:,} bytes; at most {limits.total:,} are unpacked.")
    if total > limits.free and total > packed * limits.ratio:
        raise InvalidFile(
            f"The archive's {packed:,} bytes would unpack to {total:,}: over {limits.ratio} times as much, as in a zip "
            "bomb. Nothing real compresses like that."
        )
    for e in entries:
        if e.flag_bits & 0x2041:
            raise InvalidFile(f"{_quoted(e.filename)} in the archive is encrypted; upload it without a password.")
        if e.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InvalidFile(f"{_quoted(e.filename)} uses unsupported compression; use standard zip (deflate).")
        if e.compress_type == zipfile.ZIP_STORED and e.file_size != e.compress_size:
            raise InvalidFile(f"{_quoted(e.filename)} in the archive is stored, but its two sizes differ. {AGAIN}")
        if e.is_dir() and e.file_size:
            raise InvalidFile(f"{_quoted(e.filename)} in the archive is a folder with content. {AGAIN}")


def _headers(raw: IO[bytes], entries: list[zipfile.ZipInfo], table: int, at: int) -> None:
    """Checks that local headers match the central directory and that members are contiguous, starting at ``at``."""
    for e in sorted(entries, key=lambda one: one.header_offset):
        wrong = InvalidFile(f"The zip archive has conflicting headers for {_quoted(e.filename)}. {AGAIN}")
        raw.seek(e.header_offset)
        head = raw.read(LOCAL.size)
        if len(head) < LOCAL.size:
            raise wrong
        mark, _, flags, method, _, _, crc, packed, size, name_length, extra_length = LOCAL.unpack(head)
        name, extra = raw.read(name_length), raw.read(extra_length)
        if mark != b"PK\x03\x04" or flags != e.flag_bits or method != e.compress_type:
            raise wrong
        try:
            if name.decode("utf-8" if flags & 0x800 else "cp437") != e.orig_filename:
                raise wrong
        except UnicodeDecodeError:
            raise wrong from None
        if 0xFFFFFFFF in (packed, size):
            size, packed = _zip64(extra, size, packed)
        later = flags & 8  # sizes and checksum may follow the member
        for local, central in ((crc, e.CRC), (packed, e.compress_size), (size, e.file_size)):
            if local != central and not (later and local == 0):
                raise wrong
        gap = e.header_offset - at
        if gap:
            raise InvalidFile(
                f"The zip archive has {gap:,} bytes before {_quoted(e.filename)} that belong to no member. {AGAIN}"
            )
        at = raw.tell() + e.compress_size
        if later:
            at += _descriptor(raw, at, e)
    if at != table:
        raise InvalidFile(f"The zip archive's members do not end where its central directory begins. {AGAIN}")


def _zip64(extra: bytes, size: int, packed: int) -> tuple[int, int]:
    """Replaces sizes of 0xFFFFFFFF by the 64-bit ones from the extra field. Returns (unpacked, packed)."""
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        body, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == 1:
            for k, value in enumerate((size, packed)):
                if value == 0xFFFFFFFF and len(body) >= 8:
                    number, body = struct.unpack("<Q", body[:8])[0], body[8:]
                    size, packed = (number, packed) if k == 0 else (size, number)
            break
    return size, packed


def _descriptor(raw: IO[bytes], at: int, e: zipfile.ZipInfo) -> int:
    """Returns the length of the data descriptor after a member (12 to 24 bytes), 0 if there is none."""
    raw.seek(at)
    data = raw.read(24)
    for mark in (b"PK\x07\x08", b""):
        for form in ("<LLL", "<LQQ"):
            descriptor = mark + struct.pack(form, e.CRC, e.compress_size, e.file_size)
            if data.startswith(descriptor):
                return len(descriptor)
    return 0
