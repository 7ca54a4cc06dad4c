"""Copies one tab with what it needs into a folder that is a Space: ``python spaces/stage.py TAB FOLDER``.

To see what ``spaces/deploy.py --tab`` sends, or to send it yourself.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib.deploy import tree
from lib.errors import InvalidValue

ROOT = Path(__file__).resolve().parent.parent


def stage(tab: str, folder: Path) -> None:
    """The card and the requirements at the root, the rest where it is in the repository."""
    try:
        files = tree.one_tab(tree.of_folder(ROOT), tab)
    except InvalidValue as error:
        raise SystemExit(str(error)) from None
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty")
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    stage(sys.argv[1], Path(sys.argv[2]))
