"""The exports of a run: files in its folder, rows in its record. Opens no model."""

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
    """sha256 of a plain file, computed once as long as it does not change; "" for a link and for nothing."""
    try:
        found = path.lstat()
    except OSError:
        return ""
    return _digest(str(path), found.st_size, found.st_mtime_ns) if path.is_file() and not path.is_symlink() else ""


def weights_sha256(run: Run) -> str:
    """sha256 of the run's best weights. Raises NotFound where it has none."""
    found = digest(run.folder / BEST)
    if not found:
        raise NotFound("This run has no weights (yet): none of its epochs has ended.")
    return found


def rows(run: Run) -> dict[str, ExportRow]:
    """By target, in the order of ``TARGETS``: what is known of the run's present weights. A row whose file is gone or was
    changed is left out."""
    try:
        current, kept = weights_sha256(run), run.record().exports
    except NotFound:
        return {}
    found = {name: ExportRow.read(kept.get(name)) for name in targets.TARGETS}
    return {
        name: row for name, row in found.items() if row is not None and row.weights == current and _is_valid(run, name, row)
    }


def path(run: Run, target: str) -> Path | None:
    """The file of a target that is proven; None where there is none."""
    row = rows(run).get(targets.find(target).name)
    return run.folder / FOLDER / targets.find(target).file if row is not None and row.verdict == PROVEN else None


def _is_valid(run: Run, name: str, row: ExportRow) -> bool:
    if row.verdict != PROVEN:
        return True
    file = targets.find(name).file
    folder = run.folder / FOLDER
    return row.target == name and row.file == file and not folder.is_symlink() and digest(folder / file) == row.sha256


def save(run: Run, target: Target, row: ExportRow, made: Path | None) -> None:
    """Moves ``made`` in, where the row is proven, and writes the row into the record."""
    place = run.folder / FOLDER / target.file
    if made is not None:
        os.replace(made, place)
    else:
        place.unlink(missing_ok=True)
    with run.lock():
        run.update(exports=run.record().exports | {target.name: row.as_dict()})
