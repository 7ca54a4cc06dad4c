"""Parses multipart forms, as sent by ``curl -F name=@file``, into files and fields.

Starlette's parser spools files to disk.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from lib.errors import InvalidFile
from lib.reports.words import size

MAX_PARTS = 100
MAX_TEXT = 64_000  # bytes of a text field; these are kept in memory
CHUNK = 1 << 20  # bytes
EXAMPLE = "-F model=@model.onnx -F samples=@x.npz"


def is_form(content_type: str | None) -> bool:
    return (content_type or "").lower().startswith("multipart/form-data")


async def read(
    body: Path, content_type: str, folder: Path, example: str = EXAMPLE
) -> tuple[dict[str, list[tuple[Path, str]]], dict[str, str]]:
    """Returns the files by field, as (path in ``folder``, the client's file name), and the text fields.

    ``example``: the endpoint's own fields as curl arguments, for the error message. Raises InvalidFile if the body is
    not a valid form, has over 100 parts, or a text field over 64 kB.
    """
    limits = {"max_files": MAX_PARTS, "max_fields": MAX_PARTS, "max_part_size": MAX_TEXT}
    parser = MultiPartParser(Headers({"content-type": content_type}), _chunks(body), **limits)
    try:
        parsed = await parser.parse()
    except MultiPartException as error:
        raise InvalidFile(_words(error, example)) from None
    files: dict[str, list[tuple[Path, str]]] = {}
    fields: dict[str, str] = {}
    try:
        parts = parsed.multi_items()
        if len(parts) > MAX_PARTS:
            raise InvalidFile(f"The form has more than {MAX_PARTS} parts.")
        for number, (field, value) in enumerate(parts):
            if isinstance(value, UploadFile):
                path = folder / f"part-{number}"
                await asyncio.to_thread(_save, value, path)
                files.setdefault(field, []).append((path, _file_name(value.filename)))
            else:
                fields[field] = value
    finally:
        await parsed.close()
    return files, fields


async def _chunks(body: Path) -> AsyncGenerator[bytes, None]:
    with body.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            yield chunk


def _save(value: UploadFile, path: Path) -> None:
    value.file.seek(0)
    with path.open("wb") as target:
        shutil.copyfileobj(value.file, target)


def _file_name(name: str | None) -> str:
    plain = re.split(r"[/\\]", name or "")[-1]
    return re.sub(r"[\x00-\x1f:]", "_", plain)[:200] or "file"


def _words(error: MultiPartException, example: str) -> str:
    if "maximum size" in error.message:
        return f"A text field of the form is larger than {size(MAX_TEXT)}. Send files as curl does: -F name=@file."
    if "Too many" in error.message:
        return f"The form has more than {MAX_PARTS} parts."
    return f"The request body is not a valid form. Send one as curl does: {example}."
