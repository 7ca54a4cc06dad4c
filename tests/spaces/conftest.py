"""One running app for all tests of the doors, as ``python app.py`` would serve it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from lib.settings import EMBEDDED, Settings

ROOT = Path(__file__).parent.parent.parent


def serve(
    settings: Settings, patch: pytest.MonkeyPatch, folder: Path, tabs: tuple[str, ...] = ("text_to_image",)
) -> Iterator:
    from web.shell import Workbench

    patch.setenv("GRADIO_TEMP_DIR", str(folder))
    workbench = Workbench([ROOT / "spaces" / name for name in tabs], settings)
    workbench.address = workbench.launch(server_name="127.0.0.1").rstrip("/")  # type: ignore[attr-defined]
    deadline = time.monotonic() + 300
    while httpx.get(f"{workbench.address}/healthz").json()["status"] != "ready":  # type: ignore[attr-defined]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    yield workbench
    workbench.close()


@pytest.fixture(scope="module")
def app(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("app")
        own = replace(settings, default_model=EMBEDDED, data_folder=home / "data", loaded_models=2)
        yield from serve(own, patch, home / "gradio")


@pytest.fixture(scope="module")
def inspector(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """The inspector's tab alone: its address."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("inspector")
        own = replace(settings, data_folder=home / "data", job_seconds=60, job_memory_mb=2048)
        for workbench in serve(own, patch, home / "gradio", ("onnx_inspect",)):
            yield workbench.address


@pytest.fixture
def address(app) -> str:  # type: ignore[no-untyped-def]
    return app.address
