"""Runs of real networks on small pictures, and what was exported of them: once for all tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lib.convert.service.converter import Converter
from lib.settings import Settings
from lib.train import experiment
from lib.train.data import DataSet
from lib.train.edge.export import Exporter
from lib.train.edge.local import LocalHost
from lib.train.recipe import Recipe
from lib.train.runs import Run, Runs
from tests.environments import need_onnx2tf
from tests.train.conftest import shapes

HERE = Path(__file__).parent
QUICK = {"image_size": 48, "technique": "feature_extraction", "epochs": 8, "threads": 1, "validation": 0.3}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and "reports" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


def trained(data: DataSet, home: Path, **values: object) -> Run:
    """A run that has ended, made in this process."""
    recipe = Recipe(**(QUICK | values))  # type: ignore[arg-type]
    about = {"name": "shapes", "fingerprint": data.fingerprint}
    run = Runs(home).new("shapes", {"recipe": recipe.as_dict(), "data": about})
    for _ in experiment.run_training(run, recipe, experiment.RunContext(data=data, cache=data.cache, trackers=())):
        pass
    return run


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """120 of three classes, 36 of them for validation."""
    home = tmp_path_factory.mktemp("edge")
    found = DataSet.scan(shapes(home, 40), home)
    found.save()
    return found


@pytest.fixture(scope="session")
def settings_here(request: pytest.FixtureRequest) -> Settings:
    """The converter's environments are kept from one session to the next."""
    return Settings(jobs=1, data_folder=Path(os.environ.get("DATA_FOLDER") or request.config.cache.mkdir("workbench")))


@pytest.fixture(scope="session")
def homes() -> dict[str, Path]:
    """Of the data sets, by run id."""
    return {}


@pytest.fixture(scope="session")
def local(settings_here: Settings, homes: dict[str, Path]) -> Iterator[LocalHost]:
    found = LocalHost(settings_here, homes)
    yield found
    found.close()


@pytest.fixture(scope="session")
def converter(settings_here: Settings) -> Iterator[Converter]:
    found = Converter(settings_here)
    yield found
    found.close()


@pytest.fixture(scope="session")
def exporter(local: LocalHost, converter: Converter) -> Exporter:
    return Exporter(local, converter)


@pytest.fixture(scope="session")
def make(pictures: DataSet, homes: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    def go(**values: object) -> Run:
        run = trained(pictures, tmp_path_factory.mktemp("runs"), **values)
        homes[run.id] = pictures.home
        return run

    return go


@pytest.fixture(scope="session")
def run(make: Callable[..., Run]) -> Run:
    return make()


@pytest.fixture(scope="session")
def reports(run: Run, exporter: Exporter, settings_here: Settings) -> dict[str, dict]:
    """All files of the run, in an order that has each wait for nothing: what ``export`` answered, by target.

    Tests that ask for it are slow: TensorFlow Lite needs an environment of its own, which is made from a package index.
    """
    need_onnx2tf(settings_here)
    return {target: exporter.export(run, target).result() for target in ("tflite-int8", "tflite-fp16", "tflite", "onnx")}
