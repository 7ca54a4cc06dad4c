"""The way through a conversion: what is handed out, what is withheld, and what a stop leaves behind."""

from __future__ import annotations

import json
import os
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import psutil
import pytest

from lib.convert import edges
from lib.convert.core.option import Option
from lib.convert.edges import Edge
from lib.convert.service import routes
from lib.convert.service.converter import Converter, Source, _inside
from lib.errors import Cancelled, InvalidFile, InvalidValue, JobFailed
from lib.jobs import Progress
from lib.settings import Settings
from tests.convert.models import conv_net, mlp

REPORT = """verdict reason route max_abs_error max_rel_error cosine tolerance seeds source target messages outputs
    latency_ratio size_ratio three_way diverges versions options""".split()  # noqa: SIM905


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tmp_path / "given.onnx"
    path.write_bytes(mlp().SerializeToString())
    return Source(files={"My model.onnx": path})


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def plant(monkeypatch: pytest.MonkeyPatch, name: str, **given: Any) -> None:
    """The only edge from ONNX to slimmed ONNX is one of ``planted_edges`` now."""
    about = {"tool": "planted", "precision": "fp32", "seconds": 0.1, "error": 0.0} | given
    one = Edge(source="onnx", target="onnx-slim", run=f"tests.convert.planted_edges:{name}", **about)
    every = edges.edges() | {("onnx", "onnx-slim"): one}
    monkeypatch.setattr(routes, "edges", lambda: every)


@pytest.mark.slow
def test_a_name_has_no_size(converter: Converter, out: Path) -> None:
    """Its weights are made when it runs: 26 bytes are no model that the file could be larger than."""
    report = converter.convert(Source(name="jax:mlp"), "onnx", {}, out).result()["report"]
    assert report["verdict"] == "proven" and report["size_ratio"] is None
    assert "size" not in report["summary"]


def test_a_proven_conversion_hands_out_file_and_package(converter: Converter, source: Source, out: Path) -> None:
    found = converter.convert(source, "onnx-fp16", {}, out).result()
    report = found["report"]
    assert set(REPORT) <= set(report)
    assert report["verdict"] == "proven", report["reason"]
    assert [(hop["source"], hop["target"], hop["verdict"]) for hop in report["route"]] == [("onnx", "onnx-fp16", "proven")]
    assert report["seeds"] == [0, 1, 2]
    assert report["source"]["median_ms"] > 0 < report["target"]["median_ms"]
    assert report["three_way"]["reference"]["verdict"] == "proven"
    assert Path(found["artifact"]).name == "My-model-fp16.onnx"
    onnxruntime.InferenceSession(found["artifact"], providers=["CPUExecutionProvider"])
    with zipfile.ZipFile(found["package"]) as package:
        assert set(package.namelist()) == {"My-model-fp16.onnx", "report.json", "README.md"}
        assert json.loads(package.read("report.json"))["verdict"] == "proven"
        assert "**Proven.**" in package.read("README.md").decode()
    assert (Path(found["onnx"]) / "My-model-fp16.onnx").is_file()


def test_a_failed_file_is_withheld_and_the_node_is_named(
    converter: Converter, source: Source, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, "flips_a_sign")
    found = converter.convert(source, "onnx-slim", {}, out).result()
    assert found["report"]["verdict"] == "failed"
    assert (found["artifact"], found["package"], found["onnx"]) == (None, None, None)
    assert Path(found["withheld"]["artifact"]).name == "My-model-slim.unproven.onnx"  # for who takes it anyway
    assert found["report"]["diverges"]["node"] == "matmul0"


def test_anyway_hands_it_out_under_a_name_that_says_so(
    converter: Converter, source: Source, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, "flips_a_sign")
    found = converter.convert(source, "onnx-slim", {"anyway": True}, out).result()
    assert found["report"]["verdict"] == "failed"
    assert Path(found["artifact"]).name == "My-model-slim.unproven.onnx"
    with zipfile.ZipFile(found["package"]) as package:
        assert "My-model-slim.unproven.onnx" in package.namelist()
        assert "**Failed.**" in package.read("README.md").decode()


def test_a_batch_fixed_in_silence_fails_and_one_that_is_told_is_proven_so(
    converter: Converter, source: Source, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, "fixes_the_batch_silently")
    report = converter.convert(source, "onnx-slim", {}, out).result()["report"]
    assert (report["verdict"], "batch = 3" in report["reason"]) == ("failed", True)
    plant(monkeypatch, "fixes_the_batch_and_says_so")
    report = converter.convert(source, "onnx-slim", {}, out).result()["report"]
    assert report["verdict"] == "proven", report["reason"]
    assert any("batch = 1" in message for message in report["messages"])


def test_names_that_an_edge_changes_are_followed(
    converter: Converter, source: Source, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, "renames")
    report = converter.convert(source, "onnx-slim", {}, out).result()["report"]
    assert report["verdict"] == "proven", report["reason"]
    assert report["target"]["inputs"][0]["name"] == "renamed"


def test_a_tool_that_breaks_is_a_message_without_paths(
    converter: Converter, source: Source, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, "crashes")
    with pytest.raises(JobFailed, match="no kernel for Foo") as caught:
        converter.convert(source, "onnx-slim", {}, out).result()
    assert tempfile.gettempdir() not in str(caught.value)


def test_a_stop_ends_every_process_and_leaves_no_file(
    converter: Converter, source: Source, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, "never_ends")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    work = converter.convert(source, "onnx-slim", {}, out)
    running: list[psutil.Process] = []
    with pytest.raises(Cancelled):
        for event in work.events():
            if isinstance(event, Progress) and "Waiting for ever" in event.stage:
                child = psutil.Process(int(event.stage.split()[-1]))
                running += [child, *child.parents()[:2]]  # with the edge's process, and its warden
                assert list(scratch.iterdir())
                work.cancel()
    assert len(running) == 3 and not psutil.wait_procs(running, timeout=30)[1]
    assert list(scratch.iterdir()) == list(out.iterdir()) == []
    assert converter.describe(source).result()["format"] == "onnx"


def test_what_it_is_and_what_it_can_become(converter: Converter, source: Source) -> None:
    found = converter.describe(source).result()
    assert (found["format"], found["title"]) == ("onnx", "ONNX")
    assert found["inputs"][0]["shape"] == ["batch", 16]
    targets = {t["target"]: t for t in found["targets"]}
    assert {"onnx-fp16", "onnx-slim", "onnx-int8-dynamic"} <= set(targets)
    assert targets["onnx-fp16"]["route"] == ["onnx", "onnx-fp16"]
    assert "onnx" not in targets


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        ("word", {}, "target was 'word'"),
        ("onnx", {}, "what ONNX can become here"),
        ("onnx-fp16", {"opset": 3}, "name was 'opset'"),
        ("onnx-fp16", {"keep_io_types": "yes"}, "true or false"),
        ("onnx-fp16", {"seeds": [1]}, "seeds was"),
        ("onnx-fp16", {"anyway": "x"}, "anyway was"),
    ],
)
def test_bad_requests(converter: Converter, source: Source, out: Path, target: str, options: dict, said: str) -> None:
    with pytest.raises(InvalidValue, match="allowed") as caught:
        converter.convert(source, target, options, out).result()
    assert said in str(caught.value)


def test_no_source_and_unknown_sources(converter: Converter, out: Path, tmp_path: Path) -> None:
    for name in ("", "resnet", "torchvision:../../etc/passwd", "file:///etc/passwd", "jax:nothing"):
        with pytest.raises(InvalidValue):
            converter.convert(Source(name=name), "onnx", {}, out).result()
    rubbish = tmp_path / "x.onnx"
    rubbish.write_bytes(b"\x00rubbish" * 100)
    with pytest.raises(InvalidFile):
        converter.convert(Source(files={"x.onnx": rubbish}), "onnx-fp16", {}, out).result()


def test_external_data_travel(converter: Converter, tmp_path: Path, out: Path) -> None:
    model = conv_net()
    onnx.save(model, str(tmp_path / "net.onnx"), save_as_external_data=True, location="net.bin", size_threshold=0)
    files = {name: tmp_path / name for name in ("net.onnx", "net.bin")}
    found = converter.convert(Source(files=files), "onnx-slim", {}, out).result()
    assert found["report"]["verdict"] == "proven", found["report"]["reason"]
    found = converter.convert(Source(files={"net.onnx": files["net.onnx"]}), "onnx-slim", {}, out)
    with pytest.raises(InvalidFile, match=r"net\.bin"):
        found.result()


@pytest.mark.parametrize(
    "name", ["..", ".", "../secret", "a/b", "a/../../secret", "/etc/passwd", "", None, "a\0b", 3, ["x"], "link"]
)
def test_only_plain_names_of_what_a_child_left_are_followed(name: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "a").mkdir(parents=True)
    (tmp_path / "secret").touch()
    (out / "a" / "b").touch()
    (out / "link").symlink_to(tmp_path / "secret")
    assert _inside(out, name) is None
    assert _inside(out, "a") == str(out / "a")


def test_what_a_crash_left_is_swept_by_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name, hours in (("workbench-convert-old", 25), ("workbench-convert-new", 1), ("other-old", 25)):
        (tmp_path / name / "0").mkdir(parents=True)
        (tmp_path / name / "0" / "model.onnx").touch()
        when = time.time() - hours * 3600
        os.utime(tmp_path / name, (when, when))
    Converter(Settings(gallery_hours=24)).start()
    assert {p.name for p in tmp_path.iterdir()} == {"workbench-convert-new", "other-old"}


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.slow
def test_work_that_goes_on_after_close_starts_nothing(source: Source, out: Path, used: bool) -> None:
    own = Converter(Settings(jobs=1))
    work = own.convert(source, "onnx-fp16", {}, out).events()
    if used:  # the job of the first step has ended; the next one is not begun yet
        assert isinstance(own.describe(source).result(), dict)
    next(work)
    own.close()
    with pytest.raises(Cancelled):
        list(work)
    assert own.status() == {}


def test_options_carry_their_limits() -> None:
    option = Option(name="opset", title="Opset", kind="int", default=17, low=7, high=26)
    from lib.convert.service.options import _value

    for bad in (6, 27, 17.5, "17", True, float("nan"), float("inf"), 10**400, -(10**400)):
        with pytest.raises(InvalidValue):
            _value(option, bad)
    assert _value(option, 17.0) == 17
