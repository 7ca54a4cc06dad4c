"""A small real data set and runs on it: shapes that a network tells apart after an epoch or two."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from lib.train import experiment
from lib.train.data import DataSet
from lib.train.recipe import Recipe
from lib.train.runs import Run, Runs

SIDE, COUNT = 48, 14
SMALL = {"image_size": 32, "epochs": 2, "threads": 1, "batch_size": 8}


def draw(kind: str, rng: random.Random) -> Image.Image:
    picture = Image.new("RGB", (SIDE, SIDE), tuple(rng.randrange(140, 256) for _ in range(3)))
    pen, colour = ImageDraw.Draw(picture), tuple(rng.randrange(0, 110) for _ in range(3))
    x, y, r = rng.randrange(18, 30), rng.randrange(18, 30), rng.randrange(10, 16)
    if kind == "disc":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    elif kind == "cross":
        pen.line((x - r, y - r, x + r, y + r), fill=colour, width=5)
        pen.line((x - r, y + r, x + r, y - r), fill=colour, width=5)
    else:
        for k in range(-r, r, 6):
            pen.line((0, y + k, SIDE, y + k), fill=colour, width=2)
    return picture


def shapes(folder: Path, count: int = COUNT, seed: int = 0) -> Path:
    """One folder a class under ``folder/pictures``."""
    for kind in ("cross", "disc", "stripes"):
        (folder / "pictures" / kind).mkdir(parents=True)
        for k in range(count):
            draw(kind, random.Random(f"{seed}/{kind}/{k}")).save(folder / "pictures" / kind / f"{k:02}.png")
    return folder / "pictures"


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    home = tmp_path_factory.mktemp("shapes")
    found = DataSet.scan(shapes(home), home)
    found.save()
    return found


Conduct = Callable[..., Run]


@pytest.fixture
def conduct(data: DataSet, tmp_path: Path) -> Conduct:
    """Trains a recipe to its end, or until ``until(event)`` says so, as a caller does that goes away; the run."""
    return conductor(data, tmp_path)


@pytest.fixture(scope="module")
def finished(data: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Conduct:
    """A run of a recipe that a module's tests share: to be read and left as it is."""
    go, known = conductor(data, tmp_path_factory.mktemp("finished")), {}

    def find(**values: Any) -> Run:
        recipe = Recipe(**(SMALL | values))
        if recipe not in known:
            known[recipe] = go(**values)
        return known[recipe]

    return find


def conductor(data: DataSet, home: Path) -> Conduct:
    def go(
        until: Callable[[Any], bool] | None = None, resume: Run | None = None, trackers: tuple[str, ...] = (), **values: Any
    ) -> Run:
        recipe = Recipe(**(SMALL | values))
        about = {"name": "shapes", "fingerprint": data.fingerprint}
        run = resume or Runs(home / "runs").new("test", {"recipe": recipe.as_dict(), "data": about})
        context = experiment.RunContext(data=data, cache=home / "cache", trackers=trackers)
        events = experiment.run_training(run, recipe, context, resume=resume is not None)
        for event in events:
            if until is not None and until(event):
                events.close()
                break
        return run

    return go
