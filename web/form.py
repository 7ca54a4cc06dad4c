"""A body that curl sends with ``-F name=@file``: its files and fields, parsed off the event loop."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, parse_form

from lib.errors import InvalidFile

MOST_PARTS = 100
MOST_TEXT = 1 << 20  # bytes of a field that is no file


def is_form(content_type: str | None) -> bool:
    return (content_type or "").lower().startswith("multipart/form-data")


def read(body: Path, content_type: str, folder: Path) -> tuple[dict[str, list[tuple[Path, str]]], dict[str, str]]:
    """Files by field, as (path in ``folder``, the sender's plain name), and the other fields as text.

    Raises InvalidFile for a body that is no such form, and for over 100 parts.
    """
    files: dict[str, list[tuple[Path, str]]] = {}
    fields: dict[str, str] = {}
    count = 0

    def more() -> int:
        nonlocal count
        count += 1
        if count > MOST_PARTS:
            raise InvalidFile(f"The form has over {MOST_PARTS} parts.")
        return count

    def on_file(file: File) -> None:
        path = folder / f"part-{more()}"
        file.file_object.seek(0)
        with path.open("wb") as kept:
            shutil.copyfileobj(file.file_object, kept)
        file.close()
        name = re.split(r"[/\\]", (file.file_name or b"").decode(errors="replace"))[-1]
        called = re.sub(r"[\x00-\x1f:]", "_", name)[:200] or "file"
        files.setdefault(_text(file.field_name), []).append((path, called))

    def on_field(field: Field) -> None:
        more()
        fields[_text(field.field_name)] = _text(field.value[:MOST_TEXT] if field.value else b"")

    headers: Mapping[str, bytes] = {"Content-Type": content_type.encode("latin-1", "replace")}
    try:
        with body.open("rb") as stream:
            parse_form(headers, stream, on_field, on_file)  # type: ignore[arg-type]
    except FormParserError:
        raise InvalidFile("The body is no form. Send one as curl does: -F model=@model.onnx -F samples=@x.npz.") from None
    return files, fields


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")
