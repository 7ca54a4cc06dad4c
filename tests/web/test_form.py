"""Forms as curl sends them, and as somebody sends them who means harm."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path

import pytest

from lib.errors import InvalidFile
from web import form

KIND = "multipart/form-data; boundary=xyz"


def part(name: str, value: bytes, file: str | None = None) -> bytes:
    called = f'; filename="{file}"' if file is not None else ""
    return f'--xyz\r\nContent-Disposition: form-data; name="{name}"{called}\r\n\r\n'.encode() + value + b"\r\n"


def read(body: bytes, folder: Path, kind: str = KIND):  # type: ignore[no-untyped-def]
    (folder / "body").write_bytes(body)
    return asyncio.run(form.read(folder / "body", kind, folder))


def test_files_and_fields(tmp_path: Path) -> None:
    body = part("model", b"one", "m.onnx") + part("sizes", b"batch=4") + part("model", b"", "../../etc/x:y") + b"--xyz--\r\n"
    files, fields = read(body, tmp_path)
    assert fields == {"sizes": "batch=4"}
    assert [(path.read_bytes(), name) for path, name in files["model"]] == [(b"one", "m.onnx"), (b"", "x_y")]
    assert all(path.parent == tmp_path for path, _ in files["model"])


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (b"no form at all", KIND, "not a valid form"),
        (part("a", b"b") + b"--xyz--\r\n", "multipart/form-data", "not a valid form"),
        (b'--xyz\r\nContent-Disposition: form-data; filename="x"\r\n\r\na\r\n--xyz--\r\n', KIND, "not a valid form"),
        (part("a", b"b") * 101 + b"--xyz--\r\n", KIND, "more than 100 parts"),
        (part("a", b"b", "f") * 101 + b"--xyz--\r\n", KIND, "more than 100 parts"),
        (part("a", b"b") * 60 + part("a", b"b", "f") * 60 + b"--xyz--\r\n", KIND, "more than 100 parts"),
        (part("a", b"b" * (form.MAX_TEXT + 1)) + b"--xyz--\r\n", KIND, "text field of the form is larger than 64 kB"),
    ],
)
def test_what_is_refused(body: bytes, kind: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match=says):
        read(body, tmp_path, kind)


@pytest.mark.parametrize("file", [None, "m.onnx"])
def test_a_large_part_is_not_held_in_memory(file: str | None, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(part("model", bytes(64 << 20), file) + b"--xyz--\r\n")
    tracemalloc.start()
    try:
        asyncio.run(form.read(tmp_path / "body", KIND, tmp_path))
    except InvalidFile:
        assert file is None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


def test_a_door_names_its_own_fields(tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"no form at all")
    with pytest.raises(InvalidFile, match="as curl does: -F zebra=@z"):
        asyncio.run(form.read(tmp_path / "body", KIND, tmp_path, "-F zebra=@z"))
