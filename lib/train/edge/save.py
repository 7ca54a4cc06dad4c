"""Exports a run to a file where the caller wants it, from a script or the command line: checked as every export is."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from lib.errors import InvalidFile, InvalidValue, JobFailed
from lib.jobs import Progress, Result
from lib.settings import Settings
from lib.train.data import DataSet
from lib.train.edge import targets
from lib.train.edge.export import Exporter
from lib.train.edge.export_row import PROVEN, ExportRow
from lib.train.edge.local import exporter
from lib.train.runs import Run

BY_SUFFIX = {".tflite": "tflite", ".onnx": "onnx"}


def target_of(path: Path, target: str = "") -> str:
    """``target``, or what the suffix of ``path`` stands for. Raises InvalidValue where the two do not fit."""
    suffix = path.suffix.lower()
    if suffix not in BY_SUFFIX:
        raise InvalidValue("the file's name", path.name, "a name that ends in .tflite or .onnx")
    found = targets.find(target or BY_SUFFIX[suffix])
    if Path(found.file).suffix != suffix:
        fitting = [name for name in targets.TARGETS if Path(targets.find(name).file).suffix == suffix]
        raise InvalidValue("target", target, f"{', '.join(fitting)} for a file whose name ends in {suffix}")
    return found.name


def writable_path(path: Path) -> Path:
    """``path``, absolute. Raises InvalidFile where no file can be written there."""
    path = Path(os.path.abspath(path))
    if path.is_dir():
        raise InvalidFile(f"{path.name!r} is a folder. Name a file.")
    if not path.parent.is_dir():
        raise InvalidFile(f"There is no folder {path.parent.name!r} to write {path.name!r} to. Make it first.")
    if not os.access(path.parent, os.W_OK):
        raise InvalidFile(f"The folder {path.parent.name!r} cannot be written to. Name another one.")
    return path


def save(
    run: Run,
    data: DataSet,
    path: Path,
    target: str = "",
    settings: Settings | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> ExportRow:
    """Writes ``path``, whole or not at all, and answers what was measured of it. ``data`` is what the run was trained on.

    Raises InvalidValue and InvalidFile for a target or a place that cannot be, and JobFailed with the reason where the file
    is withheld: ``path`` is left as it was then.
    """
    target, path = target_of(path, target), writable_path(path)
    run = Run(Path(os.path.abspath(run.folder)))  # jobs run in a folder of their own
    data.save()
    with exporter({run.id: data.home}, settings) as made:
        return _saved(made, run, target, path, on_progress)


def _saved(made: Exporter, run: Run, target: str, path: Path, on_progress: Callable[[Progress], None]) -> ExportRow:
    work = made.export(run, target)
    found: dict = {}
    for event in work.events():
        if isinstance(event, Result):
            found = event.value
        else:
            on_progress(event)
    row = ExportRow.read({name: value for name, value in found["report"].items() if name not in ("run", "rows")})
    assert row is not None  # the exporter read it as one
    if row.verdict != PROVEN or not found["file"]:
        raise JobFailed(f"{targets.find(target).title} is withheld. {row.why}")
    beside = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        shutil.copyfile(found["file"], beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return row
