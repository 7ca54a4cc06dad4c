"""Turn uploads into artifacts: recognize them by content, check them before any loader opens them, and store them.

Runs in a child process (``lib/jobs.py``) and imports no framework. Files are copied in chunks; only the structure of a
model is read. Each format's ``Upload`` defines how its files are checked and stored.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from lib.convert.formats import find, function, main_file
from lib.convert.intake.recognise import UPLOADS, recognise
from lib.errors import InvalidFile

MAX_FILES = 100
CONFIG = "config.json"


def admit_upload(files: dict[str, Path], folder: Path, *, allow_pt2: bool = False) -> tuple[str, list[str]]:
    """Store the artifact in ``folder``, which must be empty. Returns the format's name and messages for the visitor.

    ``files``: the uploads by the visitor's names, the main one first. A transformers config.json becomes the format
    ``architecture``: ``config.json`` and perhaps ``weights.safetensors``. Raises InvalidFile and leaves ``folder`` empty.
    """
    try:
        _check_ordinary(files)
        (name, path), *others = _main_first(files).items()
        kind = recognise(path)
        beside = dict(others)
        upload = UPLOADS[kind]
        if upload.closed and not allow_pt2:
            raise InvalidFile(upload.closed)
        if beside and not upload.beside:
            raise InvalidFile(
                f"{next(iter(beside))[:80]!r} was uploaded with {name[:80]!r}, which needs no other file: send one file."
            )
        if upload.admit:
            return function(upload.admit)(name, path, beside, folder)
        return kind, _store(kind, path, main_file(kind, folder))
    except BaseException:
        _empty(folder)
        raise


def check_weights(path: Path) -> str:
    """Check a file of weights for an architecture. Returns ``safetensors`` or ``checkpoint``. Raises InvalidFile."""
    _check_ordinary({"weights": path})
    kind = recognise(path)
    if not find(kind).container:
        raise InvalidFile("This file holds no weights: safetensors or a PyTorch checkpoint (a state_dict) is needed.")
    function(UPLOADS[kind].check)(path)
    return kind


def _store(kind: str, path: Path, target: Path) -> list[str]:
    """Store the checked file, or its unpacked content, as ``target``. Returns messages."""
    upload = UPLOADS[kind]
    if upload.write:
        if find(kind).main.endswith("/"):
            target.mkdir()
        return function(upload.write)(path, target)
    messages = function(upload.check)(path)
    shutil.copyfile(path, target)
    return messages or []


def _check_ordinary(files: dict[str, Path]) -> None:
    if not files:
        raise InvalidFile("No file was uploaded.")
    if len(files) > MAX_FILES:
        raise InvalidFile(f"{len(files)} files were uploaded; at most {MAX_FILES} are allowed at once.")
    for name, path in files.items():
        has_bad_characters = any(c in '/\\:*?"<>|' or ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in name)
        if has_bad_characters or name in ("", ".", "..") or len(name.encode(errors="replace")) > 255:
            raise InvalidFile(f"A file is called {name[:80]!r}; a plain file name is needed.")
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise InvalidFile(f"{name[:80]!r} is a link or not a regular file; upload the file itself.")
    if len({name.casefold() for name in files}) < len(files):
        raise InvalidFile("Two file names differ only in upper and lower case; rename one.")


def _main_first(files: dict[str, Path]) -> dict[str, Path]:
    """Put the main file (.onnx or config.json) first, as visitors may send files in any order. Names decide only this."""
    if len(files) == 1:
        return files
    first = next(iter(files))
    for is_main in (lambda n: n.lower().endswith(".onnx"), lambda n: n.lower() == CONFIG):
        if not is_main(first) and (matching := [n for n in files if is_main(n)]):
            return {matching[0]: files[matching[0]], **files}
    return files


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
