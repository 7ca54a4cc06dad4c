"""Outputs of one artifact by case, from the files that ``run_source`` and ``run_target`` wrote."""

from __future__ import annotations

from pathlib import Path

from lib.convert.core import arrays


class Outputs:
    """``of(file)`` gives a case's outputs; None if the artifact refused it."""

    def __init__(self, folder: Path, refused: dict[str, str], *, ran_twice: bool = True) -> None:
        """``ran_twice``: whether the folder has a second run of the first case, as targets have."""
        self.folder, self.refused, self.ran_twice = folder, refused, ran_twice

    def of(self, file: str) -> arrays.Arrays | None:
        path = self.folder / f"out-{file}"
        return arrays.load(path) if file not in self.refused and path.is_file() else None
