"""A run as ONNX computes what the run computes, whatever the number of pictures, in either framework."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from lib.errors import JobFailed
from lib.settings import Settings
from lib.train.data import DataSet
from lib.train.data_summary import summarize
from lib.train.recipe import Recipe
from lib.train.runs import Run, Runs
from lib.train.trainer import Trainer

CLASSES = ["cross", "disc", "stripes"]


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    trainer = Trainer(Settings(data_folder=tmp_path_factory.mktemp("data"), trackers=()))
    yield trainer
    trainer.close()


@pytest.mark.parametrize("framework", ["pytorch", pytest.param("keras", marks=pytest.mark.slow)])
def test_it_computes_what_the_run_computes(trainer: Trainer, data: DataSet, tmp_path: Path, framework: str) -> None:
    from PIL import Image

    owner = trainer.visitors.owner(framework)
    home = trainer.visitors.folder(owner) / "data" / ("0" * 32)
    home.mkdir(parents=True)
    DataSet.scan(data.folder, home).save()
    trainer.data.remember(owner, "0" * 32, asdict(summarize(data, "shapes")))
    recipe = Recipe(framework=framework, technique="feature_extraction", image_size=48, epochs=5)
    one = trainer.train(owner, "0" * 32, recipe)
    assert one.done.wait(240) and one.error is None, one.error
    (tmp_path / "out").mkdir()
    about = trainer.export(one.run, tmp_path / "out").result()
    assert about["classes"] == CLASSES and about["image_size"] == 48
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["labels"]) == CLASSES
    paths = [data.path(i) for i in (0, 20, 40)]
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    wanted = [list(row.scores.values()) for row in trainer.classify(one.run, paths)]
    feed = pixels if framework == "keras" else pixels.transpose(0, 3, 1, 2).astype(np.float32)
    for count in (1, 3):
        (found,) = session.run(["probabilities"], {"pixels": np.ascontiguousarray(feed[:count])})
        assert found == pytest.approx(np.array(wanted[:count]), abs=2e-3)


def test_a_run_without_weights(conduct: Callable[..., Run], tmp_path: Path) -> None:
    from lib.train.export import to_onnx

    run = Runs(tmp_path / "runs").new("x", {"recipe": Recipe().as_dict(), "data": {}})
    with pytest.raises(JobFailed, match="no weights"):
        to_onnx(run, tmp_path / "model.onnx")
