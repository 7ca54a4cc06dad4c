"""Conversions in environments of their own, whole: made (once, by pip), converted, proven. Minutes; no network, no test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.convert.service.converter import Converter, Source
from lib.settings import Settings
from tests import environments
from tests.convert.models import conv_net, save
from tests.convert.tflite_models import dense

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def converter(request: pytest.FixtureRequest) -> Iterator[Converter]:
    """Its environments are kept in pytest's cache, from one session to the next."""
    found = Converter(Settings(jobs=1, data_folder=Path(request.config.cache.mkdir("workbench"))))
    yield found
    found.close()


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MobileNetV3Small with calibrated batch norms, made in a process of its own: Keras keeps its backend for ever."""
    folder = tmp_path_factory.mktemp("keras")
    code = "import sys; from pathlib import Path; from tests.convert import keras_models as k; "
    code += "k.save(k.mobilenet(), Path(sys.argv[1]))"
    variables = dict(os.environ) | {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-c", code, str(folder)], env=variables, check=True, cwd=Path(__file__).parents[2])
    return folder / "model.keras"


def need(converter: Converter, name: str) -> None:
    environments.need(name, converter._settings.data_folder / "environments")


def proven(converter: Converter, path: Path, target: str, out: Path) -> Path:
    out.mkdir()
    found = converter.convert(Source(files={path.name: path}), target, {}, out).result()
    assert found["report"]["verdict"] == "proven", found["report"]["reason"]
    return Path(found["artifact"])


def test_onnx_to_tflite_and_back(converter: Converter, tmp_path: Path) -> None:
    for name in ("onnx2tf", "tensorflow"):
        need(converter, name)
    source = save(conv_net(), tmp_path / "a") / "model.onnx"
    tflite = proven(converter, source, "tflite", tmp_path / "b")
    onnx = proven(converter, tflite, "onnx", tmp_path / "c")
    assert onnx.suffix == ".onnx"


def test_onnx_to_saved_model(converter: Converter, tmp_path: Path) -> None:
    need(converter, "tensorflow")
    proven(converter, save(conv_net(), tmp_path / "a") / "model.onnx", "saved-model", tmp_path / "b")


def test_keras_to_onnx_to_pytorch(converter: Converter, keras_file: Path, tmp_path: Path) -> None:
    onnx = proven(converter, keras_file, "onnx", tmp_path / "a")
    proven(converter, onnx, "pt2", tmp_path / "b")


def test_keras_to_saved_model(converter: Converter, keras_file: Path, tmp_path: Path) -> None:
    need(converter, "tensorflow")
    proven(converter, keras_file, "saved-model", tmp_path / "a")


def test_tflite_to_onnx_of_a_file_that_no_tool_here_wrote(converter: Converter, tmp_path: Path) -> None:
    need(converter, "tensorflow")
    folder, *_ = dense(tmp_path / "a")
    proven(converter, folder / "model.tflite", "onnx", tmp_path / "b")


def test_an_architecture_to_tflite_by_litert_torch(converter: Converter, tmp_path: Path) -> None:
    need(converter, "litert-torch")
    out = tmp_path / "out"
    out.mkdir()
    found = converter.convert(Source(name="torchvision:squeezenet1_1"), "tflite", {}, out).result()
    report = found["report"]
    assert report["verdict"] == "proven", report["reason"]
