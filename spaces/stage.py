"""Copies one tab with what it needs into a folder that is a Space: ``python spaces/stage.py TAB FOLDER``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ("lib", "web", "models", "LICENSE")


def stage(tab: str, folder: Path) -> None:
    """The card and the requirements at the root, the rest where it is in the repository."""
    source = ROOT / "spaces" / tab
    if not (source / "app.py").is_file():
        raise SystemExit(
            f"{tab!r} is no tab; there are: {', '.join(sorted(p.parent.name for p in ROOT.glob('spaces/*/app.py')))}"
        )
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty")
    skip = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(source, folder / "spaces" / tab, ignore=skip)
    for name in SHARED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=skip)
        else:
            shutil.copy(ROOT / name, folder / name)
    for name in ("README.md", "requirements.txt"):
        shutil.move(folder / "spaces" / tab / name, folder / name)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    stage(sys.argv[1], Path(sys.argv[2]))
