"""Outputs of one artifact by case, read from the files that ``run_source`` and ``run_target`` wrote."""

from __future__ import annotations

from pathlib import Path

from lib.convert.core import arrays


class Outputs:
    """The stored outputs of one artifact. ``of(file)`` returns those of a case, or None if the artifact refused it."""

    def __init__(self, folder: Path, refused: dict[str, str], *, ran_twice: bool = True) -> None:
        """``refused``: reasons by file. ``ran_twice``: the folder holds a second run of the first case, as targets' do."""
        self.folder, self.refused, self.ran_twice = folder, refused, ran_twice

    def of(self, file: str) -> arrays.Arrays | None:
        """Returns the outputs of the case ``file``; None if it was refused or not run."""
        path = self.folder / f"out-{file}"
        return arrays.load(path) if file not in self.refused and path.is_file() else None
