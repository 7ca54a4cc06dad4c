"""The process that classifies, on another runtime: the run's exported file, and none but a proven one."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.errors import InvalidValue, NotFound
from lib.train import serving
from lib.train.data import DataSet
from lib.train.edge import export_store, onnx_file, targets
from lib.train.edge.export_row import PROVEN, ExportRow
from lib.train.network_cache import MAX_NETWORKS, RUNTIMES, NetworkCache, file_for
from lib.train.runs import Run
from lib.train.training import BEST
from tests.train.conftest import Conduct


@pytest.fixture
def run(conduct: Conduct) -> Run:
    return conduct(epochs=1)


def export(run: Run, tmp_path: Path) -> Path:
    """As the exporter leaves it, without its checks."""
    made = tmp_path / "made.onnx"
    onnx_file.write(run, made, {})
    (run.folder / export_store.FOLDER).mkdir(exist_ok=True)
    target = targets.find("onnx")
    row = ExportRow(
        target=target.name,
        verdict=PROVEN,
        file=target.file,
        sha256=export_store.digest(made),
        weights=export_store.weights_sha256(run),
    )
    export_store.save(run, target, row, made)
    return run.folder / export_store.FOLDER / target.file


@pytest.mark.slow
def test_onnxruntime_says_the_same_and_is_opened_once(run: Run, data: DataSet, tmp_path: Path) -> None:
    export(run, tmp_path)
    networks = NetworkCache(())
    network = networks.get(str(run.folder))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    paths = [[str(data.path(0)), str(tmp_path / "broken.png")], [str(data.path(20))]]
    looked: list[serving.Pair] = []
    ours = serving.classify(network, paths)
    theirs = serving.classify(network, paths, "onnxruntime", [looked, None])
    assert theirs[0][1].error and ours[0][1].error
    for mine, other in ((ours[0][0], theirs[0][0]), (ours[1][0], theirs[1][0])):
        assert other.label == mine.label and other.scores == pytest.approx(mine.scores, abs=1e-3)
    assert [(small.shape, own.shape) for small, own in looked] == [((128, 128, 3), (32, 32, 3))]
    opened = network.open("onnxruntime")
    assert opened is network.open("onnxruntime") and network.open("pytorch") is None
    networks.close()
    assert network._open == {} and MAX_NETWORKS >= 1


@pytest.mark.slow
def test_a_file_that_is_not_proven_of_these_weights_is_not_run(run: Run, tmp_path: Path) -> None:
    for runtime in RUNTIMES[1:]:
        with pytest.raises(NotFound, match=f"{runtime} needs .* Export it to (onnx|tflite) first"):
            file_for(run, runtime)
    with pytest.raises(InvalidValue, match="allowed: pytorch, onnxruntime, litert, mediapipe"):
        file_for(run, "tensorrt")
    path = export(run, tmp_path)
    assert file_for(run, "onnxruntime") == path and file_for(run, "pytorch") is None
    with (run.folder / BEST).open("ab") as file:  # trained on
        file.write(b"\0")
    with pytest.raises(NotFound):
        file_for(run, "onnxruntime")


@pytest.mark.slow
def test_a_planted_file_is_not_run(run: Run, tmp_path: Path) -> None:
    path = export(run, tmp_path)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(NotFound):
        file_for(run, "onnxruntime")
