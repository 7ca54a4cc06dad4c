"""MediaPipe's bundles (.task), zips of TensorFlow Lite files: lists and extracts their models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.archives import Archive, Limits, is_litter, opened
from lib.errors import InvalidFile, InvalidValue
from lib.tflite import file as tflite_file

HEAD = b"PK\x03\x04"
LIMITS = Limits(members=1000, total=4 << 30, member=4 << 30)


def is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == HEAD


def extract(path: Path, member: str, target: Path) -> dict[str, Any]:
    """Writes the file ``member`` (the largest model, where it is "") to ``target``: {member, members: [{name, bytes}]}.

    Raises InvalidFile for a zip without TensorFlow Lite files, InvalidValue for a member that is none of them.
    """
    with opened(path, LIMITS, {}) as archive:
        found = _models(archive)
        if not found:
            others = ", ".join(repr(n[-60:]) for n in list(archive.members)[:3] if not is_litter(n)) or "nothing"
            words = f"This is a zip archive without TensorFlow Lite files; it holds {others}."
            raise InvalidFile(f"{words} Upload the .tflite or .onnx file itself.")
        if member and member not in found:
            raise InvalidValue("member", member, ", ".join(found))
        chosen = member or max(found, key=found.__getitem__)
        archive.write(chosen, target)
    return {"member": chosen, "members": [{"name": name, "bytes": size} for name, size in found.items()]}


def _models(archive: Archive) -> dict[str, int]:
    names = [n for n in archive.members if not is_litter(n)]
    return {n: archive.members[n].file_size for n in names if archive.head(n, 8)[4:8] == tflite_file.IDENTIFIER}
