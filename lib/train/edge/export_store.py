"""Stores a run's exports: files in its folder, rows in its record. Opens no model."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from lib.errors import NotFound
from lib.train.edge import targets
from lib.train.edge.export_row import PROVEN, ExportRow
from lib.train.edge.targets import Target
from lib.train.provenance import sha256
from lib.train.runs import Run
from lib.train.training import BEST

FOLDER = "exports"


@lru_cache(maxsize=256)
def _digest(path: str, size: int, changed: int) -> str:
    return sha256(Path(path))


def digest(path: Path) -> str:
    """Returns the SHA-256 of a regular file, cached until it changes; "" for a link or a missing file."""
    try:
        status = path.lstat()
    except OSError:
        return ""
    return _digest(str(path), status.st_size, status.st_mtime_ns) if path.is_file() and not path.is_symlink() else ""


def weights_sha256(run: Run) -> str:
    """Returns the SHA-256 of the run's best weights. Raises NotFound if it has none."""
    sha = digest(run.folder / BEST)
    if not sha:
        raise NotFound("This run has no weights (yet): it has not completed an epoch.")
    return sha


def rows(run: Run) -> dict[str, ExportRow]:
    """Returns the valid rows for the run's current weights, by target, in the order of ``TARGETS``.

    Rows whose file is missing or changed are left out.
    """
    try:
        current, exports = weights_sha256(run), run.record().exports
    except NotFound:
        return {}
    parsed = {name: ExportRow.read(exports.get(name)) for name in targets.TARGETS}
    return {
        name: row for name, row in parsed.items() if row is not None and row.weights == current and _is_valid(run, name, row)
    }


def path(run: Run, target: str) -> Path | None:
    """Returns the proven file of a target, or None."""
    row = rows(run).get(targets.find(target).name)
    return run.folder / FOLDER / targets.find(target).file if row is not None and row.verdict == PROVEN else None


def _is_valid(run: Run, name: str, row: ExportRow) -> bool:
    if row.verdict != PROVEN:
        return True
    file = targets.find(name).file
    folder = run.folder / FOLDER
    return row.target == name and row.file == file and not folder.is_symlink() and digest(folder / file) == row.sha256


def save(run: Run, target: Target, row: ExportRow, made: Path | None) -> None:
    """Store the file ``made``, or remove the old one if it is None, and write the row to the record."""
    destination = run.folder / FOLDER / target.file
    if made is not None:
        os.replace(made, destination)
    else:
        destination.unlink(missing_ok=True)
    with run.lock():
        run.update(exports=run.record().exports | {target.name: row.as_dict()})
