"""Conversions to ExecuTorch, whole: its environment made (once, by pip), converted, run, proven. Minutes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lib.convert import edges as registry
from lib.convert.service import routes
from lib.convert.service.converter import Converter, Source
from lib.errors import InvalidValue
from lib.settings import Settings
from tests import environments
from tests.convert.models import conv_net, save
from tests.convert.trained import corpus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def converter(request: pytest.FixtureRequest) -> Iterator[Converter]:
    """Its environment is kept in pytest's cache, from one session to the next."""
    settings = Settings(jobs=1, data_folder=Path(request.config.cache.mkdir("workbench")))
    environments.need("executorch", settings.data_folder / "environments")
    found = Converter(settings)
    yield found
    found.close()


def converted(converter: Converter, source: Source, out: Path, target: str = "executorch", **options: Any) -> dict[str, Any]:
    out.mkdir()
    return converter.convert(source, target, options, out).result()


def test_an_architecture_with_a_dynamic_batch(converter: Converter, tmp_path: Path) -> None:
    found = converted(converter, Source(name="torchvision:mobilenet_v3_small"), tmp_path / "out")
    report = found["report"]
    assert report["verdict"] == "proven", report["reason"]
    assert report["range_error"] < 1e-5 and report["precision"] == "fp32"
    assert [hop["target"] for hop in report["route"]] == ["pt2", "executorch"]
    assert report["target"]["inputs"][0]["shape"] == ["batch", 3, 224, 224]
    assert any("batch = 8" in message for message in report["messages"])
    assert report["versions"]["executorch"] == "1.2.0"
    assert Path(found["artifact"]).suffix == ".pte"
    described = converter.describe(Source(files={"a.pte": Path(found["artifact"])})).result()
    assert described["format"] == "executorch" and described["targets"] == []


@pytest.mark.parametrize("options", [{"delegate": "none"}, {"dynamic": False}, {"largest": "batch=20"}])
def test_from_onnx_by_a_route(options: dict[str, Any], converter: Converter, tmp_path: Path) -> None:
    path = save(conv_net(), tmp_path / "a") / "model.onnx"
    report = converted(converter, Source(files={path.name: path}), tmp_path / "out", **options)["report"]
    assert report["verdict"] == "proven", report["reason"]
    first = report["target"]["inputs"][0]["shape"][0]
    assert (first == 1) is (options.get("dynamic") is False)


def test_a_size_of_no_dimension_is_refused(converter: Converter, tmp_path: Path) -> None:
    path = save(conv_net(), tmp_path / "a") / "model.onnx"
    with pytest.raises(InvalidValue, match="dynamic dimensions"):
        converted(converter, Source(files={path.name: path}), tmp_path / "out", largest="nobody=3")


def test_a_wrong_weight_is_caught(converter: Converter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(conv_net(), tmp_path / "a") / "model.onnx"
    known = registry.edges()
    wrong = dataclasses.replace(known["pt2", "executorch"], run="tests.convert.planted_edges:flips_a_sign_of_a_pte")
    monkeypatch.setattr(routes, "edges", lambda: known | {("pt2", "executorch"): wrong})
    found = converted(converter, Source(files={path.name: path}), tmp_path / "out")
    assert found["report"]["verdict"] == "failed" and found["artifact"] is None


def test_a_trained_network(converter: Converter, tmp_path: Path) -> None:
    subject = corpus.make("torch-cnn", tmp_path / "made")
    source = Source(files={name: subject.folder / name for name in subject.files})
    found = converted(converter, source, tmp_path / "out", samples=str(subject.samples))
    assert found["report"]["verdict"] == "proven", found["report"]["reason"]
    assert found["report"]["samples"]["judged"] == 64
