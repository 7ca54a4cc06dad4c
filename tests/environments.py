"""For tests that need an environment of the converter's own: it is made once, by pip, or the test is skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.convert import environments
from lib.errors import JobFailed
from lib.settings import Settings


def need(name: str, folder: Path) -> None:
    """Makes the environment, or skips where there is no package index to make it from."""
    try:
        environments.ensure(name, folder, lambda stage, share=None: None)
    except JobFailed as error:
        if "package index" in error.message or "cannot be created here" in error.message:
            pytest.skip(error.message)
        raise


def need_onnx2tf(settings: Settings) -> None:
    need("onnx2tf", settings.data_folder / "environments")
