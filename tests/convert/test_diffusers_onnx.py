"""The networks of a pipeline in ONNX: what onnxruntime gives is what torch gives, at every size that is promised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from lib.convert.edges import diffusers_component_to_onnx, diffusers_to_onnx
from lib.convert.formats import load
from lib.convert.formats.diffusers.onnx_runner import DiffusersOnnxRunner
from lib.convert.formats.diffusers.sources import prepare
from lib.convert.proof.cases import cases
from lib.convert.proof.comparison import Verdict
from lib.convert.proof.measures import Pair
from lib.convert.proof.verdict import decide
from lib.errors import InvalidFile, InvalidValue

pytestmark = pytest.mark.timeout(1800)  # exports of minutes on a busy machine


def quiet(stage: str, share: float | None = None) -> None:
    assert stage


def verdict(source: Any, target: Any, fixed: dict[str, int] | None = None) -> Verdict:
    """The proof's own, over its own cases. ``target`` is called with the source's inputs."""
    pairs = []
    for case in cases(source.signature(), fixed=fixed):
        ours = None if case.kind.startswith("perturbed") else target(case.arrays)
        pairs.append(Pair(case.kind, source.run(case.arrays), ours, "", case.sizes, case.seed, case.changed))
    assert {"ordinary", "resized", "zeros", "large"} <= {pair.kind for pair in pairs}
    return decide(pairs, "fp32")


@pytest.mark.slow
def test_the_embedded_pipeline_is_proven_network_by_network(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    prepare("diffusers:tiny-scenes", tmp_path / "source")
    said = diffusers_to_onnx.convert(quiet, tmp_path / "source", tmp_path / "target", {})
    assert any("decoder" in message for message in said["messages"])
    home = tmp_path / "target" / "onnx"
    assert json.loads((home / "model_index.json").read_text())["_class_name"].startswith("StableDiffusion")
    assert (home / "scheduler" / "scheduler_config.json").is_file() and (home / "tokenizer").is_dir()
    source, target = load("diffusers", tmp_path / "source"), load("diffusers-onnx", tmp_path / "target")
    plain = [(v.name, v.dtype, v.shape) for v in source.signature().inputs]
    assert [(v.name, v.dtype, v.shape) for v in target.signature().inputs] == plain
    assert [v.name for v in target.signature().outputs] == [v.name for v in source.signature().outputs]
    report = verdict(source, target.run)
    assert report.verdict == "proven", report.reason
    assert report.range_error < 5e-5


@pytest.mark.parametrize(
    ("part", "dynamic", "shape"),
    [
        pytest.param("unet", False, ["batch", 8, 16, 16], marks=pytest.mark.slow),
        pytest.param("unet", True, ["batch", 8, "height", "width"], marks=pytest.mark.slow),
        ("text_encoder", False, ["batch", 32]),
        pytest.param("vae_decoder", False, ["batch", 8, 16, 16], marks=pytest.mark.slow),
    ],
)
def test_one_network_of_the_embedded_pipeline(part: str, dynamic: bool, shape: list[Any], tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    prepare(f"diffusers:tiny-scenes/{part}", tmp_path / "source")
    options = {"dynamic_size": dynamic}
    said = diffusers_component_to_onnx.convert(quiet, tmp_path / "source", tmp_path / "target", options)
    session = onnxruntime.InferenceSession(tmp_path / "target" / "model.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == shape
    onnx.checker.check_model(tmp_path / "target" / "model.onnx", full_check=True)

    def run(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = session.run(list(said["outputs"].values()), {said["inputs"][k]: v for k, v in arrays.items()})
        return dict(zip(said["outputs"], found, strict=True))

    report = verdict(load("diffusers-network", tmp_path / "source"), run, said["fixed"])
    assert report.verdict == "proven", report.reason
    assert report.range_error < 5e-5


def test_a_whole_pipeline_is_no_single_network(tmp_path: Path) -> None:
    prepare("diffusers:tiny-scenes", tmp_path)
    with pytest.raises(InvalidValue, match="diffusers-onnx"):
        diffusers_component_to_onnx.convert(quiet, tmp_path, tmp_path, {"dynamic_size": False})


def test_no_onnx_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="none of text_encoder"):
        DiffusersOnnxRunner(tmp_path)
    (tmp_path / "onnx" / "unet").mkdir(parents=True)
    (tmp_path / "onnx" / "unet" / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(InvalidFile, match="cannot load unet") as caught:
        DiffusersOnnxRunner(tmp_path)
    assert str(tmp_path) not in caught.value.message
