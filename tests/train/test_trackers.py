"""What a tracker writes is read back by TensorBoard's own readers and compared, value by value."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lib.errors import InvalidValue
from lib.train import trackers
from lib.train.trackers import (
    Embeddings,
    Graph,
    Histogram,
    HyperParameters,
    Picture,
    PrecisionRecall,
    Text,
    drawings,
    open_trackers,
)
from lib.train.trackers.registry import OPENERS, register
from lib.train.trackers.tensorboard import plain, reduced
from lib.train.trackers.values import BINS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "first"


def write(folder: Path, values: dict[str, Any], step: int = 1, first_step: int = 0) -> None:
    tracker = open_trackers(["tensorboard"], folder, folder.name, first_step)
    tracker.log(values, step)
    tracker.close()


def legacy(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), {"tensors": 0, "images": 0}).Reload()


def board(folder: Path) -> Any:
    """The reader that the page's server uses; it turns every kind into tensors."""
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def tensor(folder: Path, tag: str) -> np.ndarray:
    from tensorboard.util.tensor_util import make_ndarray

    return make_ndarray(board(folder).Tensors(tag)[-1].tensor_proto)


# Histogram


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64])
def test_a_histogram_counts_every_value(dtype: torch.dtype) -> None:
    values = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0)).mul(10).to(dtype)
    histogram = Histogram.of(values)
    exact = values.double().numpy().ravel()
    counts, edges = np.histogram(exact, bins=BINS)
    assert histogram.number == 105 == sum(histogram.counts)
    assert (histogram.minimum, histogram.maximum) == (exact.min(), exact.max())
    assert histogram.total == pytest.approx(exact.sum())
    assert histogram.squares == pytest.approx((exact**2).sum())
    np.testing.assert_allclose(histogram.edges, edges, rtol=1e-6)
    if dtype is not torch.int64:  # there, values lie on the edges
        assert np.abs(np.array(histogram.counts) - counts).sum() <= 2


def test_a_histogram_takes_arrays_and_leaves_the_tensor_alone() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0, 4.0]))
    assert Histogram.of(weight, bins=3).counts == Histogram.of(weight.detach().numpy(), bins=3).counts == (1, 1, 1)
    assert weight.grad is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (torch.zeros(4), Histogram((4.0,), (0.0, 0.0), 0.0, 0.0, 4, 0.0, 0.0)),
        (torch.empty(0), Histogram((), (0.0,), 0.0, 0.0, 0, 0.0, 0.0)),
        (torch.tensor([float("nan"), 2.0, float("inf")]), Histogram((1.0,), (2.0, 2.0), 2.0, 2.0, 1, 2.0, 4.0)),
        (torch.tensor([float("nan")]), Histogram((), (0.0,), 0.0, 0.0, 0, 0.0, 0.0)),
    ],
    ids=["constant", "empty", "not finite", "nothing finite"],
)
def test_histograms_without_a_width(values: torch.Tensor, expected: Histogram, folder: Path) -> None:
    histogram = Histogram.of(values)
    assert histogram == expected
    write(folder, {"h": histogram})
    assert ("h" in board(folder).summary_metadata) == bool(expected.number)


def test_a_histogram_is_read_back(folder: Path) -> None:
    histogram = Histogram.of(torch.randn(1000, generator=torch.Generator().manual_seed(1)))
    write(folder, {"weights/a": histogram}, step=7)
    (event,) = legacy(folder).Histograms("weights/a")
    read = event.histogram_value
    assert event.step == 7
    assert (read.min, read.max, read.num) == (histogram.minimum, histogram.maximum, 1000)
    assert (read.sum, read.sum_squares) == (histogram.total, histogram.squares)
    assert tuple(read.bucket) == histogram.counts and tuple(read.bucket_limit) == histogram.edges[1:]
    buckets = tensor(folder, "weights/a")  # left, right, count
    np.testing.assert_allclose(buckets[:, 0], histogram.edges[:-1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(buckets[:, 2], histogram.counts)


# Every other kind


def test_scalars_are_read_back(folder: Path) -> None:
    tracker = open_trackers(["tensorboard"], folder, "first")
    for step in (1, 2, 3):
        tracker.log({"loss": 1 / step, "accuracy": torch.tensor(step / 4), "count": np.int64(step)}, step)
    tracker.close()
    read = legacy(folder)
    assert [(e.step, e.value) for e in read.Scalars("loss")] == [(s, pytest.approx(1 / s)) for s in (1, 2, 3)]
    assert [e.value for e in read.Scalars("accuracy")] == [0.25, 0.5, 0.75]
    assert [e.value for e in read.Scalars("count")] == [1, 2, 3]


def test_a_picture_is_read_back(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (9, 13, 3), np.uint8)
    write(folder, {"mistakes": Picture(pixels)}, step=4)
    (event,) = legacy(folder).Images("mistakes")
    assert (event.step, event.width, event.height) == (4, 13, 9)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(event.encoded_image_string))), pixels)


def test_text_is_read_back(folder: Path) -> None:
    write(folder, {"recipe": Text("| a | b |\n|---|---|\n| 1 | ü |")})
    assert tensor(folder, "recipe/text_summary").item().decode() == "| a | b |\n|---|---|\n| 1 | ü |"


def test_precision_and_recall_are_read_back(folder: Path) -> None:
    scores = np.array([0.9, 0.8, 0.3, 0.1])
    write(folder, {"pr/dog": PrecisionRecall(np.array([True, False, True, False]), scores)})
    read = tensor(folder, "pr/dog")
    assert read.shape == (6, 127)
    threshold = round(0.5 * 126)
    assert read[:4, threshold].tolist() == [1, 1, 1, 1]  # true and false positives, true and false negatives
    assert read[4:, threshold].tolist() == [0.5, 0.5]  # precision, recall
    assert read[:4, 0].tolist() == [2, 2, 0, 0]


def test_hyperparameters_are_read_back_without_a_second_run(folder: Path) -> None:
    from tensorboard.plugins.hparams import metadata

    recipe = {"learning_rate": 1e-3, "backbone": "lite0", "augmentation": True, "early_stop": None}
    write(folder, {"recipe": HyperParameters(recipe, {"result/accuracy": 0.97})}, step=9)
    read = board(folder)
    content = {tag: read.summary_metadata[tag].plugin_data.content for tag in read.PluginTagToContent("hparams")}
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    assert start.hparams["learning_rate"].number_value == 1e-3
    assert start.hparams["backbone"].string_value == "lite0"
    assert start.hparams["augmentation"].string_value == "yes"
    assert start.hparams["early_stop"].string_value == "None"
    experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
    assert [metric.name.tag for metric in experiment.metric_infos] == ["result/accuracy"]
    assert [(e.step, e.value) for e in legacy(folder).Scalars("result/accuracy")] == [(9, pytest.approx(0.97))]
    assert len(list(folder.rglob("events.*"))) == 1


def test_a_recipe_without_results_leaves_the_columns_to_a_run_that_has_them(folder: Path) -> None:
    write(folder, {"recipe": HyperParameters({"epochs": 3}, {})})
    assert list(board(folder).PluginTagToContent("hparams")) == ["_hparams_/session_start_info"]


def test_embeddings_are_read_back_in_few_dimensions(folder: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 1280)).astype(np.float32)
    sprites = np.repeat(np.arange(30, dtype=np.uint8), 8 * 8 * 3).reshape(30, 8, 8, 3)
    labels = [f"class\t{i % 3}" for i in range(30)]
    write(folder, {"features": Embeddings(vectors, labels, sprites)}, step=5)
    config = (folder / "projector_config.pbtxt").read_text()
    assert "single_image_dim: 8" in config and str(folder) not in config
    (tsv,) = folder.rglob("tensors.tsv")
    read = np.loadtxt(tsv, delimiter="\t")
    assert read.shape == (30, 30)  # never more components than pictures
    exact = vectors.astype(np.float64)
    before = ((exact[:, None] - exact[None]) ** 2).sum(-1)
    np.testing.assert_allclose(((read[:, None] - read[None]) ** 2).sum(-1), before, rtol=1e-2, atol=1e-1)
    assert (tsv.parent / "metadata.tsv").read_text().splitlines() == [f"class {i % 3}" for i in range(30)]
    sprite = np.asarray(Image.open(tsv.parent / "sprite.png"))
    assert sprite.shape[:2] == (48, 48) and sprite[8 * 4 + 1, 8 * 5 + 1].tolist() == [29] * 3


def test_reduction_keeps_at_most_64_components() -> None:
    rng = np.random.default_rng(0)
    assert reduced(rng.normal(size=(100, 1280))).shape == (100, 64)
    few = rng.normal(size=(10, 3))
    np.testing.assert_allclose(reduced(few), few, atol=1e-4)
    assert not reduced(np.zeros((4, 70))).any()
    assert reduced(np.full((4, 3), np.nan)).tolist() == [[0] * 3] * 4


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.drop = torch.nn.Dropout()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.norm(self.conv(x))).mean((2, 3))


def test_a_graph_is_read_back_and_the_module_goes_on_as_it_was(folder: Path) -> None:
    module = Small().train()
    module.norm.eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    torch.manual_seed(0)
    state = torch.get_rng_state()
    write(folder, {"graph": Graph(module, torch.rand(2, 3, 8, 8, generator=torch.Generator()))}, step=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert module.training and module.drop.training and not module.norm.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    graph = legacy(folder).Graph()
    names = {node.name for node in graph.node}
    assert {"input/x", "Small/BatchNorm2d[norm]/running_mean/running_mean"} <= names
    assert any(name.startswith("Small/Conv2d[conv]/weight/") for name in names)
    assert sys.prefix.encode() not in graph.SerializeToString()


def test_a_module_that_cannot_be_traced_does_not_end_the_training(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no")

    module = Broken().train()
    with caplog.at_level(logging.WARNING):
        write(folder, {"graph": Graph(module, torch.rand(1)), "loss": 1.0})
    assert "graph is not shown" in caplog.text and module.training
    assert len(legacy(folder).Scalars("loss")) == 1


# A session after another


@pytest.mark.parametrize("resumed_at", [3, 0])
def test_a_resumed_run_drops_what_the_interrupted_one_left(folder: Path, resumed_at: int) -> None:
    for first, last, value in ((0, 5, 1.0), (resumed_at, 4, 2.0)):
        tracker = open_trackers(["tensorboard"], folder, "first", first)
        for step in range(first, last + 1):
            tracker.log({"loss": value, "h": Histogram.of(torch.rand(9))}, step)
        tracker.close()
        time.sleep(1.1)  # files are read in the order of the second in their name
    expected = [(step, 1.0 if step < resumed_at else 2.0) for step in range(5)]
    assert [(e.step, e.value) for e in legacy(folder).Scalars("loss")] == expected
    from tensorboard.util.tensor_util import make_ndarray

    read = board(folder)  # this reader takes the first mark that it meets for the start
    assert [(e.step, make_ndarray(e.tensor_proto).item()) for e in read.Tensors("loss")] == expected
    assert [e.step for e in read.Tensors("h")] == [0, 1, 2, 3, 4]


def test_values_are_on_the_disk_before_the_run_ends(folder: Path) -> None:
    tracker = open_trackers(["tensorboard"], folder, "first")
    tracker.log({"loss": 1.0}, 1)
    deadline = time.monotonic() + 10
    while "loss" not in legacy(folder).Tags()["scalars"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    tracker.close()


def test_close_leaves_no_thread_and_may_be_called_twice(folder: Path) -> None:
    before = threading.active_count()
    tracker = open_trackers(["tensorboard"], folder, "first")
    tracker.close()
    tracker.close()
    assert threading.active_count() <= before  # one of other tests may have ended


# Opening


def test_an_unknown_tracker_is_told_what_there_is(folder: Path) -> None:
    with pytest.raises(InvalidValue, match=r"tracker was 'wandb'; allowed: tensorboard, trackio"):
        open_trackers(["tensorboard", "wandb"], folder, "first")
    assert not folder.exists()
    with pytest.raises(InvalidValue, match="each name once"):
        open_trackers(["tensorboard", "tensorboard"], folder, "first")
    with pytest.raises(InvalidValue, match="first_step"):
        open_trackers([], folder, "first", -1)


def test_two_trackers_of_one_name_are_an_error() -> None:
    assert trackers.available() == ("tensorboard", "trackio")
    with pytest.raises(ValueError, match="a second tracker 'trackio'"):
        register("trackio")(lambda folder, run, first_step: open_trackers([], folder, run))


class Kept:
    def __init__(self, broken: bool = False) -> None:
        self.logged: list[tuple[dict[str, Any], int]] = []
        self.closed, self.broken = 0, broken

    def log(self, values: Any, step: int) -> None:
        self.logged.append((dict(values), step))

    def close(self) -> None:
        self.closed += 1
        if self.broken:
            raise OSError("disk full")


def test_everything_goes_to_each_tracker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Kept(broken=True), Kept()
    monkeypatch.setitem(OPENERS, "first", lambda *_: first)
    monkeypatch.setitem(OPENERS, "second", lambda *_: second)
    both = open_trackers(["first", "second"], folder, "run")
    both.log({"loss": torch.tensor(0.5), "note": Text("x")}, 3)
    assert first.logged == second.logged == [({"loss": 0.5, "note": Text("x")}, 3)]
    with pytest.raises(TypeError, match=r"loss was a str; allowed: a number, Histogram"):
        both.log({"loss": "low"}, 4)
    with pytest.raises(TypeError, match="loss was a Tensor"):
        both.log({"loss": torch.zeros(2)}, 4)
    with pytest.raises(OSError, match="disk full"):
        both.close()
    both.close()
    assert (first.closed, second.closed) == (1, 1)


def test_a_tracker_that_does_not_open_closes_the_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path, run: str, first_step: int) -> Any:
        raise OSError("no")

    kept = Kept()
    monkeypatch.setitem(OPENERS, "first", lambda *_: kept)
    monkeypatch.setitem(OPENERS, "second", broken)
    with pytest.raises(OSError, match="no"):
        open_trackers(["first", "second"], folder, "run")
    assert kept.closed == 1


def test_importing_the_trackers_imports_nothing_heavy() -> None:
    code = (
        "import sys; from lib.train.trackers import available; available();"
        "print({'torch', 'tensorboard', 'trackio'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Picture(np.zeros((3, 4, 4), np.uint8)), r"uint8 \[h, w, 3\], got uint8 \[3, 4, 4\]"),
        (lambda: Picture(np.zeros((4, 4, 3))), "got float64"),
        (lambda: Embeddings(np.zeros((2, 3)), ["a"]), "2 vectors need as many labels, got 1"),
        (lambda: Embeddings(np.zeros(2), ["a", "b"]), r"\[n, d\]"),
        (lambda: Embeddings(np.zeros((1, 3)), ["a"], np.zeros((1, 2, 3, 3), np.uint8)), "square, got 2 x 3"),
        (lambda: Embeddings(np.zeros((1, 3)), ["a"], np.zeros((2, 2, 2, 3), np.uint8)), r"uint8 \[1, s, s, 3\]"),
        (lambda: PrecisionRecall(np.zeros(2, bool), np.array([0, 1.5])), "between 0 and 1"),
        (lambda: PrecisionRecall(np.zeros(2, bool), np.zeros(3)), r"both \[n\]"),
        (lambda: Histogram((1.0,), (0.0,), 0, 0, 1, 0, 0), "1 counts need 2 edges"),
    ],
)
def test_values_of_a_wrong_shape_say_so(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_plain_hyperparameters() -> None:
    given = [True, np.bool_(False), 3, np.float32(0.5), "a", None, (1, 2)]
    assert [plain(v) for v in given] == ["yes", "no", 3.0, 0.5, "a", "None", "(1, 2)"]


# Trackio, where it is installed


def test_trackio_keeps_the_same_values(tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    code = """
import json, sys, numpy as np
from pathlib import Path
from lib.train.trackers import *
def session(values, step, first):
    t = open_trackers(["trackio"], Path("."), "first", first)
    for value in values: t.log(value, step)
    t.close(); t.close()
session([{"loss": .5, "note": Text("x"),
         "h": Histogram((1., 2.), (0., 1., 2.), 0., 2., 3, 4., 5.),
         "p": Picture(np.zeros((4, 4, 3), np.uint8)), "e": Embeddings(np.zeros((2, 2)), ["a", "b"])}], 1, 0)
session([{"loss": .25}, {"recipe": HyperParameters({"epochs": 3}, {"accuracy": .75})}], 2, 2)
import trackio
run, = trackio.Api().runs("model-workbench")
from trackio.sqlite_storage import SQLiteStorage
logs = SQLiteStorage.get_logs("model-workbench", run.name, run_id=run.id)
print(json.dumps({"name": run.name, "config": run.config, "logs": logs}, default=str))
"""
    env = {"TRACKIO_DIR": str(tmp_path), "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=Path.cwd())
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)  # and nothing else was printed
    assert read["name"] == "first" and read["config"]["epochs"] == 3
    assert [row["loss"] for row in read["logs"][:2]] == [0.5, 0.25] and read["logs"][2]["accuracy"] == 0.75
    first = read["logs"][0]
    assert first["h"]["_type"] == "trackio.histogram" and first["note"]["_value"] == "x" and "e" not in first


def test_trackio_that_is_not_installed_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidValue, match="pip install trackio"):
        open_trackers(["trackio"], folder, "first")


# Drawings


def test_a_confusion_matrix_shows_counts_by_colour() -> None:
    few = drawings.confusion_matrix(np.array([[3, 1], [0, 4]]), ["a", "b"])
    assert few.dtype == np.uint8 and few.shape[2] == 3
    colours = {tuple(c) for c in few.reshape(-1, 3).tolist()}
    assert {drawings.shade(drawings.RIGHT, 0.75), drawings.shade(drawings.RIGHT, 1.0)} <= colours
    assert {drawings.shade(drawings.WRONG, 0.25), drawings.EMPTY} <= colours
    for k in (1, 100, 1000):
        many = drawings.confusion_matrix(np.eye(k, dtype=int), [f"class {i}\nof many with a long name" for i in range(k)])
        assert max(many.shape) < 4200
    with pytest.raises(ValueError, match=r"3 labels need counts \[3, 3\], got \[2, 2\]"):
        drawings.confusion_matrix(np.eye(2), ["a", "b", "c"])


def test_a_contact_sheet_holds_every_picture() -> None:
    red, blue = np.full((8, 8, 3), (255, 0, 0), np.uint8), np.full((300, 100, 3), (0, 0, 255), np.uint8)
    sheet = drawings.contact_sheet([red, blue] * 4, ["said a\nis b"] * 8, columns=3, side=64)
    assert sheet.shape == (8 + 3 * (64 + 32 + 8), 8 + 3 * 72, 3)
    assert sheet[40, 40].tolist() == [255, 0, 0] and sheet[40, 112].tolist() == [0, 0, 255]
    assert drawings.mistakes([red], ["a"], ["b"], [0.991]).shape[1] == 8 + 136
    assert drawings.contact_sheet([], []).shape[2] == 3
    with pytest.raises(ValueError, match="1 pictures need as many captions, got 0"):
        drawings.contact_sheet([red], [])


def test_first_layer_weights_share_one_scale() -> None:
    weights = np.zeros((5, 3, 3, 3), np.float32)
    weights[4] = -2
    weights[0, 0] = 1
    grid = drawings.weights_grid(weights, scale=2)
    assert grid.shape == (2 + 2 * 8, 2 + 3 * 8, 3)
    assert grid[2, 2].tolist() == [191, 128, 128] and grid[10, 10].tolist() == [0, 0, 0]
    assert drawings.weights_grid(np.zeros((2, 1, 3, 3))).shape[2] == 3
    with pytest.raises(ValueError, match="Filters"):
        drawings.weights_grid(np.zeros((5, 16, 3, 3)))
