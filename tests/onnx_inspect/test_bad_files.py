"""Every file of ``bad``: an answer or one of our errors, no path, no crash, nothing written but into ``out``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from onnx import TensorProto

from lib.errors import InvalidFile
from lib.jobs import Jobs
from lib.onnx_inspect.markdown import markdown
from tests.onnx_inspect.ask import SMALL, ask, files
from tests.onnx_inspect.bad import ANSWERED, REFUSED, REPORTED, TABLE, VALID
from tests.onnx_inspect.bad.not_onnx import TOUCHED
from tests.onnx_inspect.bad.structure import chain, node

ROOT = Path(__file__).parents[2]
OUT = {"graph.onnx", "collapsed.onnx", "inputs.npz", "outputs.npz", "reference.npz"}
PATIENT = replace(SMALL, wall_seconds=120, cpu_seconds=120)  # 100,000 nodes take some 10 s


@pytest.mark.parametrize("name", TABLE)
def test_a_bad_file(name: str, jobs: Jobs, tmp_path: Path) -> None:
    bad = TABLE[name]
    upload = bad.upload()
    (tmp_path / "up").mkdir()
    (tmp_path / "out").mkdir()
    path, out = tmp_path / "up" / "upload.onnx", str(tmp_path / "out")
    path.write_bytes(upload.model)
    externals = {}
    for k, (location, data) in enumerate(upload.externals.items()):
        externals[location] = str(tmp_path / "up" / f"beside-{k}")
        Path(externals[location]).write_bytes(data)
    before = files(tmp_path)
    model = {"model": str(path), "externals": externals}
    found = ask(jobs, "inspect", SMALL if bad.run else PATIENT, **model, name="model.onnx", symbols={}, out=out)
    if bad.outcome == REFUSED:
        assert isinstance(found, InvalidFile) and bad.words in found.message, found
        assert isinstance(ask(jobs, "as_text", **model), InvalidFile)
    else:
        assert isinstance(found, dict), found
        errors = [p["message"] for p in found["problems"] if p["severity"] == "error"]
        assert found["valid"] is not bool(errors)
        assert bad.outcome == ANSWERED or found["valid"] is (bad.outcome == VALID), errors
        assert bad.outcome != REPORTED or any(bad.words in message for message in errors), errors
        assert len(found["problems"]) < 500
        assert errors or "this lint failed" not in str(found["problems"])
        assert len(markdown(found)) < 5_000_000
        ask(jobs, "as_text", **model)
        ask(jobs, "tensor", **model, tensor=found["initializers"][0]["name"] if found["initializers"] else "w")
        if bad.run:
            ran = ask(jobs, "execute", **model, inputs=None, seed=0, runs=1, symbols={}, out=out)
            assert bad.outcome != VALID or (isinstance(ran, dict) and ran["agree"]), ran
    assert files(tmp_path) == before and {p.name for p in (tmp_path / "out").iterdir()} <= OUT
    assert not any((folder / TOUCHED).exists() for folder in (Path.cwd(), ROOT, tmp_path, tmp_path / "up", Path("/tmp")))


def test_a_pickle_would_touch_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above can fail."""
    import pickle

    monkeypatch.chdir(tmp_path)
    pickle.loads(TABLE["pickle of protocol 4"].upload().model)
    assert TOUCHED.exists()


@pytest.mark.parametrize("name", ["../escaped.bin", "/etc/passwd", "a/b", "..", "a\\b", "a\0b", ""])
def test_the_name_of_an_uploaded_file_is_no_path(name: str, jobs: Jobs, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(TABLE["missing external data"].upload().model)
    (tmp_path / "data").write_bytes(b"x")
    model = {"model": str(tmp_path / "model.onnx"), "externals": {name: str(tmp_path / "data")}}
    found = ask(jobs, "inspect", **model, name="model.onnx", symbols={})
    assert isinstance(found, InvalidFile) and "a plain name is required" in found.message


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nodes", "weights"])
def test_two_big_models_without_a_common_name_are_compared(kind: str, jobs: Jobs, tmp_path: Path) -> None:
    """Everything is a candidate for having been renamed: 100,000 × 100,000 pairs must not be looked at."""
    paths = []
    for side in "ab":
        model = chain(node("Relu", "x", "y"))
        for k in range(100_000 if kind == "nodes" else 10_000):
            if kind == "nodes":
                model.graph.node.add(op_type="Relu", name=f"{side}{k}", input=["x"], output=[f"{side}{k}"])
            else:
                held = bytes([k % 256, k // 256]) * 400
                model.graph.initializer.append(TensorProto(name=f"{side}{k}", data_type=3, dims=[800], raw_data=held))
        paths.append(tmp_path / f"{side}.onnx")
        paths[-1].write_bytes(model.SerializeToString())
    sides = {"old": str(paths[0]), "old_externals": {}, "new": str(paths[1]), "new_externals": {}}
    found = ask(jobs, "difference", PATIENT, **sides, rtol=0.0, atol=0.0)
    assert isinstance(found, dict) and len(found["rows"]) < 2000
    assert kind != "weights" or found["counts"]["initializer"] == {"renamed": 10_000}
