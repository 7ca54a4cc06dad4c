"""The npm package of onnxruntime-web, for tests of what the page loads from a public host."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest


def package(version: str, folder: Path) -> Path:
    """Fetches it into ``folder``; the folder of its built files. Skips the test where npm cannot."""
    if shutil.which("npm") is None:
        pytest.skip("no npm")
    name = f"onnxruntime-web@{version}"
    got = subprocess.run(["npm", "pack", name, "--silent"], cwd=folder, capture_output=True, text=True, timeout=300)
    if got.returncode:
        pytest.skip(f"npm cannot fetch {name}")
    with tarfile.open(folder / got.stdout.split()[-1]) as file:
        file.extractall(folder, filter="data")
    return folder / "package" / "dist"
