"""A run's validation and test pictures, handed over: the exported model sees what the run saw, label for label."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from lib.errors import InvalidFile, InvalidValue, JobFailed
from lib.model_inputs import samples
from lib.model_inputs.signature import Signature, Value
from lib.onnx_model.signature import signature
from lib.settings import Settings
from lib.train.data import DataSet
from lib.train.data_summary import summarize
from lib.train.datasets import make
from lib.train.handover import validation_samples
from lib.train.pixel_cache import pixels
from lib.train.recipe import Recipe
from lib.train.runs import Run, Runs
from lib.train.trainer import Trainer
from tests.train.conftest import shapes


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    trainer = Trainer(Settings(data_folder=tmp_path_factory.mktemp("data"), trackers=()))
    yield trainer
    trainer.close()


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["pytorch", "keras"])
def test_the_exported_model_is_as_right_as_the_run(trainer: Trainer, tmp_path: Path, framework: str) -> None:
    """Through the app's own jobs, on real scans, whose test part is given and whose validation part is cut."""
    owner = trainer.visitors.owner(framework)
    home = trainer.visitors.folder(owner) / "data" / ("0" * 32)
    trainer.data.remember(owner, "0" * 32, asdict(summarize(make("digits", home), "digits")))
    recipe = Recipe(framework=framework, technique="feature_extraction", image_size=32, epochs=3)
    one = trainer.train(owner, "0" * 32, recipe)
    assert one.done.wait(400) and one.error is None, one.error
    trainer.export(one.run, tmp_path).result()
    about = trainer.samples(one.run, tmp_path).result()
    result = one.run.read()["result"]["parts"]
    assert about["count"] == {part: result[part]["count"] for part in ("validation", "test")}
    model = onnx.load(tmp_path / "model.onnx")
    found = samples.read(Path(about["path"]), "samples.zip", signature(model), preprocessing=about["preprocessing"])
    assert found.classes == about["classes"] == [str(k) for k in range(10)] and found.kind == "pictures"
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    right = [int(session.run(None, row)[0].argmax()) == label for row, label in zip(found.rows, found.labels, strict=True)]
    assert len(right) == sum(about["count"].values()) > 400
    whole = sum(result[part]["correct"] for part in ("validation", "test"))
    assert abs(sum(right) - whole) <= 2 and whole > 0.5 * len(right)  # a tie may fall the other way in another runtime


def test_pixels_and_labels_are_the_runs_own(conduct: Callable[..., Run], data: DataSet, tmp_path: Path) -> None:
    run = conduct(technique="feature_extraction", epochs=1, image_size=48)
    about = validation_samples(run, data, tmp_path)
    wanted = data.split(0.1, 0).val
    with zipfile.ZipFile(about.path) as file:
        names = [n for n in file.namelist() if n != "classes.txt"]
        assert file.read("classes.txt").decode().splitlines() == data.classes
    assert about.count == {"validation": len(wanted), "test": 0} and len(names) == len(wanted)
    assert sorted(names) == sorted(f"validation/{data.classes[data.items[k].label]}/{k:06}.png" for k in wanted)
    taken = Signature((Value("pixels", "float32", ("batch", 3, 48, 48)),))
    found = samples.read(Path(about.path), "samples.zip", taken, preprocessing=about.preprocessing)
    array = pixels(data, 48, data.cache)
    by_name = sorted(zip(sorted(names), found.rows, found.labels or [], strict=True))
    for name, row, label in by_name:
        index = int(name[-10:-4])
        assert np.array_equal(row["pixels"][0].transpose(1, 2, 0), array[index]) and label == data.items[index].label
    with pytest.raises(JobFailed, match="has no test pictures"):
        validation_samples(run, data, tmp_path, ("test",))
    with pytest.raises(InvalidValue, match="parts was 'train'; allowed: validation and test"):
        validation_samples(run, data, tmp_path, ("train",))


def test_what_cannot_be_handed_over(conduct: Callable[..., Run], tmp_path: Path) -> None:
    home = tmp_path / "other"
    other = DataSet.scan(shapes(home, seed=1), home)
    empty = Runs(tmp_path / "runs").new("x", {"recipe": Recipe().as_dict(), "data": {"fingerprint": other.fingerprint}})
    with pytest.raises(JobFailed, match="no classes yet"):
        validation_samples(empty, other, tmp_path)
    run = conduct(technique="feature_extraction", epochs=1)
    with pytest.raises(JobFailed, match="changed since this run"):
        validation_samples(run, other, tmp_path)
    run.update(data={"fingerprint": other.fingerprint})
    other.path(other.split(0.1, 0).val[0]).write_bytes(b"gone")
    with pytest.raises(InvalidFile, match="was changed or removed"):
        validation_samples(run, other, tmp_path)
