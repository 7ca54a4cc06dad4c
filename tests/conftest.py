"""Tiny real components: random models of each family, and the embedded one in a running engine."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here reaches for a network
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the app: tests run beside others

import pytest

from lib.settings import EMBEDDED, Settings
from lib.text_to_image.models import Model, Source, load
from tests import tiny


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Saved random models: sd (epsilon), sd2 (v), sdxl, and flux for the families without a row."""
    home = tmp_path_factory.mktemp("models")
    for name, make in tiny.PIPELINES.items():
        make().save_pretrained(home / name)
    return {name: home / name for name in tiny.PIPELINES}


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path]) -> Settings:
    """The embedded model and the random ones, on the CPU."""
    models = (EMBEDDED, *(f"{name}={folder}" for name, folder in folders.items()))
    return Settings(models=models, device="cpu", data_folder=tmp_path_factory.mktemp("data"), loaded_models=4)


@pytest.fixture(scope="session")
def embedded(settings: Settings) -> Model:
    return load(Source.parse(EMBEDDED), settings)


@pytest.fixture(scope="session")
def sd(settings: Settings, folders: dict[str, Path]) -> Model:
    return load(Source(name="sd", folder=folders["sd"]), settings)


@pytest.fixture(scope="session")
def loaded(settings: Settings, folders: dict[str, Path]) -> dict[str, Model]:
    return {name: load(Source(name=name, folder=folder), settings) for name, folder in folders.items()}
