"""Edges from PyTorch: the files compute the same, keep names and dynamic sizes, and say what they fixed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from lib.convert.edges import architecture_to_onnx, architecture_to_pt2, edges, pt2_to_onnx
from lib.convert.formats import load
from lib.convert.formats.pytorch import architectures
from lib.convert.formats.pytorch import transformers_models as transformers
from lib.convert.proof import cases as proof_cases
from lib.convert.proof.comparison import Verdict
from lib.convert.proof.measures import Pair
from lib.convert.proof.verdict import decide
from lib.convert.tools import torch_export
from lib.errors import JobFailed

OPTIONS = {"opset": "default", "dynamic": True}
SOURCES = {
    "resnet": ("torchvision:resnet18", {"image_size": 64}),
    "llama": ("transformers:", transformers.EXAMPLES["Llama, tiny"]),
}

pytestmark = pytest.mark.timeout(1800)  # exports of minutes on a busy machine


# two more exports each; what a picture network shows by default, a language model shows among the slow ones
BOTH = pytest.mark.parametrize("source", ["resnet", pytest.param("llama", marks=pytest.mark.slow)], indirect=True)


def quiet(*_: Any) -> None:
    pass


@pytest.fixture(scope="module", params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name, config = SOURCES[request.param]
    folder = tmp_path_factory.mktemp("source")
    (folder / "config.json").write_text(json.dumps(config))
    architectures.prepare(name, None, folder / "config.json", folder)
    return folder


@pytest.fixture(scope="module")
def target(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``source`` as ONNX, everything dynamic."""
    folder = tmp_path_factory.mktemp("target")
    assert architecture_to_onnx.convert(quiet, source, folder, OPTIONS)["fixed"] == {}
    return folder


def verdict(source: Path, target: Path, fixed: dict[str, int]) -> Verdict:
    ours, theirs = load("architecture", source), load("onnx", target)
    pairs = []
    for case in proof_cases.cases(ours.signature(), fixed=fixed):
        found = theirs.run(case.arrays) if not case.kind.startswith("perturbed") else None
        pairs.append(Pair(case.kind, ours.run(case.arrays), found, "", case.sizes, case.seed, case.changed))
    return decide(pairs, "fp32")


def test_onnx_computes_the_same(source: Path, target: Path) -> None:
    judged = verdict(source, target, {})
    assert judged.verdict == "proven", judged.reason
    ours, theirs = load("architecture", source).signature(), load("onnx", target).signature()
    assert [(v.name, v.shape) for v in theirs.inputs] == [(v.name, v.shape) for v in ours.inputs]
    assert [v.name for v in theirs.outputs] == [v.name for v in ours.outputs]


@pytest.mark.slow
def test_a_wrong_weight_is_seen(source: Path, target: Path, tmp_path: Path) -> None:
    model = onnx.load(target / "model.onnx")
    big = max(model.graph.initializer, key=lambda t: len(t.raw_data) * (t.data_type == onnx.TensorProto.FLOAT))
    values = onnx.numpy_helper.to_array(big).copy()
    values.reshape(-1)[: values.size // 50] *= -1
    big.CopyFrom(onnx.numpy_helper.from_array(values, big.name))
    onnx.save(model, tmp_path / "model.onnx")
    assert verdict(source, tmp_path, {}).verdict == "failed"


@BOTH
def test_what_is_fixed_is_said(source: Path, tmp_path: Path) -> None:
    said = architecture_to_onnx.convert(quiet, source, tmp_path, {"opset": "18", "dynamic": False})
    symbols = load("architecture", source).signature().symbols()
    assert set(said["fixed"]) == set(symbols) and said["fixed"]["batch"] == 1
    assert not load("onnx", tmp_path).signature().symbols()
    assert next(o.version for o in onnx.load(tmp_path / "model.onnx").opset_import if not o.domain) == 18
    assert verdict(source, tmp_path, said["fixed"]).verdict == "proven"


@pytest.mark.slow
@BOTH
def test_through_an_exported_program(source: Path, tmp_path: Path) -> None:
    program, target = tmp_path / "program", tmp_path / "target"
    program.mkdir(), target.mkdir()
    said = architecture_to_pt2.convert(quiet, source, program, {"dynamic": True})
    assert said["fixed"] == {}
    pt2_to_onnx.convert(quiet, program, target, OPTIONS)
    judged = verdict(source, target, {})
    assert judged.verdict == "proven", judged.reason
    ours, theirs = load("architecture", source).signature(), load("onnx", target).signature()
    assert [v.name for v in theirs.inputs] == [v.name for v in ours.inputs]
    assert [v.name for v in theirs.outputs] == [v.name for v in ours.outputs]


@pytest.mark.slow
def test_a_model_that_depends_on_its_data(tmp_path: Path) -> None:
    """A detection model: no exported program, and ONNX through the exporter that traces."""
    folder, target = tmp_path / "a", tmp_path / "b"
    folder.mkdir(), target.mkdir()
    architectures.prepare("torchvision:ssdlite320_mobilenet_v3_large", None, None, folder)
    with pytest.raises(JobFailed, match=r"torch\.export gave up"):
        architecture_to_pt2.convert(quiet, folder, target, {"dynamic": True})
    said = architecture_to_onnx.convert(quiet, folder, target, OPTIONS)
    assert "TorchScript" in said["messages"][0]
    outputs = load("onnx", target).signature().outputs
    assert [v.name for v in outputs] == ["boxes", "scores", "labels"] or [v.name for v in outputs] == [
        "boxes",
        "labels",
        "scores",
    ]


def test_the_edges_are_listed() -> None:
    for pair in (("architecture", "onnx"), ("architecture", "pt2"), ("pt2", "onnx")):
        assert edges()[pair].missing() == ""
    assert edges()["architecture", "onnx"].options[0].choices == torch_export.OPSETS
