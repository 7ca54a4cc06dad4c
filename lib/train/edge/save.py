"""Exports a run to a given path, from a script or the command line, with the same checks as any export."""

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
    """Returns ``target``, or the default for the suffix of ``path``. Raises InvalidValue if the two do not fit."""
    suffix = path.suffix.lower()
    if suffix not in BY_SUFFIX:
        raise InvalidValue("the file's name", path.name, "a name that ends in .tflite or .onnx")
    chosen = targets.find(target or BY_SUFFIX[suffix])
    if Path(chosen.file).suffix != suffix:
        fitting = [name for name in targets.TARGETS if Path(targets.find(name).file).suffix == suffix]
        raise InvalidValue("target", target, f"{', '.join(fitting)} for a file whose name ends in {suffix}")
    return chosen.name


def writable_path(path: Path) -> Path:
    """Returns ``path`` as an absolute path. Raises InvalidFile if no file can be written there."""
    path = Path(os.path.abspath(path))
    if path.is_dir():
        raise InvalidFile(f"{path.name!r} is a folder. Name a file.")
    if not path.parent.is_dir():
        raise InvalidFile(f"There is no folder {path.parent.name!r} to write {path.name!r} to. Create it first.")
    if not os.access(path.parent, os.W_OK):
        raise InvalidFile(f"The folder {path.parent.name!r} is not writable. Name another one.")
    return path


def save(
    run: Run,
    data: DataSet,
    path: Path,
    target: str = "",
    settings: Settings | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> ExportRow:
    """Write ``path`` atomically and return the file's measurements. ``data`` is the dataset of the run.

    Raises InvalidValue or InvalidFile for an invalid target or path, and JobFailed with the reason if the file is withheld;
    ``path`` is then left unchanged.
    """
    target, path = target_of(path, target), writable_path(path)
    run = Run(Path(os.path.abspath(run.folder)))  # jobs have a different working directory
    data.save()
    with exporter({run.id: data.home}, settings) as local_exporter:
        return _saved(local_exporter, run, target, path, on_progress)


def _saved(made: Exporter, run: Run, target: str, path: Path, on_progress: Callable[[Progress], None]) -> ExportRow:
    work = made.export(run, target)
    result: dict = {}
    for event in work.events():
        if isinstance(event, Result):
            result = event.value
        else:
            on_progress(event)
    row = ExportRow.read({name: value for name, value in result["report"].items() if name not in ("run", "rows")})
    assert row is not None  # the exporter has validated it
    if row.verdict != PROVEN or not result["file"]:
        raise JobFailed(f"{targets.find(target).title} is withheld. {row.why}")
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        shutil.copyfile(result["file"], temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return row
