"""What is handed out is what was proven; its name says where it was not; the card shows names as text."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lib.convert.worker import entrypoints, package
from lib.errors import JobFailed

SINGLE = {"model.onnx": b"graph"}
SEVERAL = {
    "onnx": SINGLE | {"model.onnx.data": b"weights"},
    "torch-module": {"model.py": b"code", "model.safetensors": b"weights", "signature.json": b"{}"},
    "saved-model": {"saved_model/saved_model.pb": b"graph", "saved_model/variables/variables.index": b"weights"},
}


def made(folder: Path, files: dict[str, bytes], verdict: str = "proven", **target: Any) -> tuple[Path, Path, dict]:
    """An artifact, an empty folder to pack into, and a report."""
    source, out = folder / "artifact", folder / "out"
    out.mkdir()
    for name, data in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    side: dict[str, Any] = {"title": "ONNX", "bytes": 5, "median_ms": None, "inputs": [], "outputs": []}
    report = {"verdict": verdict, "reason": "so it is", "route": [], "messages": [], "versions": {}, "seeds": [0, 1, 2]}
    return source, out, report | {"source": side, "target": side | {"files": entrypoints.digests(source)} | target}


def names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


@pytest.mark.parametrize("format", SEVERAL)
def test_several_files_keep_their_names_in_a_folder_that_says_unproven(format: str, tmp_path: Path) -> None:
    for verdict, folder in (("proven", ""), ("unproven", "model.unproven/"), ("failed", "model.unproven/")):
        (tmp_path / verdict).mkdir()
        source, out, report = made(tmp_path / verdict, SEVERAL[format], verdict)
        found = package.pack(format, str(source), report, "net", str(out))
        assert found["artifact"] == f"net{'.unproven' * bool(folder)}-{format}.zip"
        expected = {f"{folder}{name}" for name in SEVERAL[format]}
        assert names(out / found["artifact"]) == expected
        assert names(out / found["package"]) == expected | {"report.json", "README.md"}


def test_one_file_is_renamed_and_onnx_is_there_to_inspect(tmp_path: Path) -> None:
    source, out, report = made(tmp_path, SINGLE, "failed")
    found = package.pack("onnx", str(source), report, "net", str(out))
    assert found["artifact"] == "net.unproven.onnx" and (out / "net.unproven.onnx").read_bytes() == b"graph"
    assert "net.unproven.onnx" in names(out / found["package"])
    assert [(p.name, p.read_bytes()) for p in (out / found["onnx"]).rglob("*")] == [("net.unproven.onnx", b"graph")]


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "model.onnx").write_bytes(b"grapf"),
        lambda folder: (folder / "model.onnx.data").unlink(),
        lambda folder: (folder / "more.bin").touch(),
        lambda folder: ((folder / "sub").mkdir(), (folder / "sub" / "model.onnx").touch()),
        lambda folder: (folder / "secret").symlink_to("/etc/passwd"),
        lambda folder: (folder / "etc").symlink_to("/etc"),
        lambda folder: ((folder / "model.onnx").rename(folder.parent / "x"), (folder / "model.onnx").symlink_to("../x")),
    ],
)
def test_other_files_than_the_proven_ones_are_not_handed_out(change: Callable[[Path], Any], tmp_path: Path) -> None:
    source, out, report = made(tmp_path, SEVERAL["onnx"])
    change(source)
    with pytest.raises(JobFailed, match=r"changed after the proof|only regular files"):
        package.pack("onnx", str(source), report, "net", str(out))
    assert not list(out.iterdir())


def test_names_in_the_card_are_text(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)> ![a](b) `c`\n# head | cell"
    value = {"name": evil, "dtype": "float32", "shape": [evil, 3]}
    *_, report = made(tmp_path, SINGLE, title=evil, inputs=[value], outputs=[value])
    report |= {"reason": f"Output {evil!r}: wrong", "messages": [evil]}
    report["source"] = report["source"] | {"title": evil, "inputs": [value]}
    step = {"source": "onnx", "target": "onnx-fp16", "precision": "fp16", "seconds": 1.0, "verdict": "proven"}
    report["route"] = [step | {"tool": evil}]  # a child process says which tool it was
    card = package.card(report)
    assert "<" not in card and ">" not in card and "](" not in card and "\n# head" not in card
    assert card.count("img src=x") == 9
