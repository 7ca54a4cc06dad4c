"""Exported programs run under their own names, refuse what they were not exported for, and load nothing dangerous."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.convert.formats import load
from lib.convert.formats.pt2 import files as pt2_files
from lib.convert.formats.torch_module import source_code as module_source
from lib.convert.proof import cases as proof_cases
from lib.errors import InvalidFile, JobFailed
from lib.model_inputs.signature import Signature, Value
from tests.convert import models
from tests.convert.edge_run import convert


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.relu(self.linear(x)), (x.shape[0] * y).sum(-1)


SIGNATURE = Signature(
    (Value("in x/0", "float32", ("batch", 4)), Value("class", "int64", ("batch", 2), "index", 7)),
    (Value("out:0", "float32", ("batch", 3)), Value("1", "int64", ("batch",))),
)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    batch = torch.export.Dim("b", min=1)
    given = (torch.zeros(3, 4), torch.zeros(3, 2, dtype=torch.int64))
    program = torch.export.export(Small().eval(), given, dynamic_shapes=({0: batch}, {0: batch}))
    (tmp_path / "pt2").mkdir()
    pt2_files.save(program, tmp_path / "pt2", SIGNATURE)
    return tmp_path / "pt2"


def made(batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(batch)
    return {"in x/0": rng.standard_normal((batch, 4)).astype(np.float32), "class": rng.integers(0, 7, (batch, 2))}


def test_names_roles_and_values(small: Path) -> None:
    runner = load("pt2", small)
    assert runner.signature() == SIGNATURE
    for batch in (1, 3, 5):
        given = made(batch)
        got = runner.run(given)
        with torch.no_grad():
            expected = Small()(torch.from_numpy(given["in x/0"]), torch.from_numpy(given["class"]))
        assert list(got) == ["out:0", "1"]
        assert np.array_equal(got["out:0"], expected[0].numpy()) and np.array_equal(got["1"], expected[1].numpy())
    with pytest.raises(JobFailed, match="refuses"):
        runner.run({"in x/0": np.zeros((2, 5), np.float32), "class": np.zeros((2, 2), np.int64)})
    with pytest.raises(JobFailed, match="class"):
        runner.run({"in x/0": np.zeros((2, 4), np.float32)})


def test_a_program_from_elsewhere_has_names_of_its_own(tmp_path: Path) -> None:
    program = torch.export.export(Small().eval(), (torch.zeros(3, 4), torch.zeros(3, 2, dtype=torch.int64)))
    torch.export.save(program, tmp_path / "model.pt2")
    found = load("pt2", tmp_path).signature()
    assert [v.name for v in found.inputs] == ["x", "y"]
    assert [v.shape for v in found.outputs] == [(3, 3), (3,)]


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def changed(source: Path, target: Path, **members: bytes) -> Path:
    """A copy of the archive with some members' bytes replaced; their names by the end."""
    target.mkdir()
    with zipfile.ZipFile(source / "model.pt2") as old, zipfile.ZipFile(target / "model.pt2", "w") as new:
        for member in old.infolist():
            data = next((d for end, d in members.items() if member.filename.endswith(end)), old.read(member))
            new.writestr(member.filename, data)
    return target


def test_nothing_in_an_archive_is_executed(small: Path, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    with zipfile.ZipFile(small / "model.pt2") as archive:
        text = archive.read(next(n for n in archive.namelist() if n.endswith("models/model.json"))).decode()
        weights = archive.read(next(n for n in archive.namelist() if n.endswith("model_weights_config.json"))).decode()
    evil = text.replace("Symbol('", f"__import__('pathlib').Path({str(touched)!r}).touch() or Symbol('")
    assert evil != text
    pickled = weights.replace('"use_pickle": false', '"use_pickle": true').encode()
    cases = {
        "sample": ({"sample_inputs/model.pt": pickle.dumps(Touch(touched))}, "not a checkpoint"),
        "weights": ({"model_weights_config.json": pickled}, "pickled"),
        "symbols": ({"models/model.json": evil.encode()}, "more than symbols"),
        "no json": ({"models/model.json": b"{"}, "not valid JSON"),
        "names": ({"names.json": b'{"inputs": [], "outputs": []}'}, "does not match"),
    }
    for name, (members, why) in cases.items():
        with pytest.raises(InvalidFile, match=why):
            load("pt2", changed(small, tmp_path / name, **members))
        assert not touched.exists()


def test_a_file_cannot_choose_inputs_that_make_its_proof_easy(small: Path, tmp_path: Path) -> None:
    said = json.loads(json.dumps(SIGNATURE.as_dict()))
    said["inputs"][0] |= {"role": "mask", "high": 1}
    said["inputs"][1] |= {"role": "index", "high": 1}
    for k, sizes in enumerate(([1], [1, 1], [0, -1], ["1", "2"], [True, False])):
        text = json.dumps(said | {"sizes": {"batch": sizes, "else": [1, 2]}}).encode()
        found = load("pt2", changed(small, tmp_path / str(k), **{"names.json": text})).signature()
        assert [(v.name, v.role, v.high) for v in found.inputs] == [("in x/0", "", None), ("class", "index", None)]
        assert found.sizes == {}
    said["inputs"][1] |= {"role": "nonsense", "high": 7}
    text = json.dumps(said | {"sizes": {"batch": [2, 5]}}).encode()
    found = load("pt2", changed(small, tmp_path / "right", **{"names.json": text})).signature()
    assert (found.inputs[1].role, found.inputs[1].high, found.sizes) == ("", 7, {"batch": (2, 5)})
    said["inputs"][0]["name"] = 3
    with pytest.raises(InvalidFile, match="damaged"):
        load("pt2", changed(small, tmp_path / "named", **{"names.json": json.dumps(said).encode()}))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x04."])
def test_what_is_no_archive(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.pt2").write_bytes(data)
    with pytest.raises(InvalidFile, match="zip archive is cut off"):
        load("pt2", tmp_path)


def test_a_module_in_python_gives_the_same(small: Path, tmp_path: Path) -> None:
    convert("pt2", "torch-module", small, tmp_path / "module")
    a, b = load("pt2", small), load("torch-module", tmp_path / "module")
    assert a.signature() == b.signature()
    for batch in (1, 4):
        x, y = a.run(made(batch)), b.run(made(batch))
        assert all(np.array_equal(x[name], y[name]) for name in x)


@pytest.mark.parametrize("name", ["conv_net", "attention"])
def test_from_onnx_to_a_module(name: str, tmp_path: Path) -> None:
    source = models.save(getattr(models, name)(), tmp_path / "onnx")
    convert("onnx", "pt2", source, tmp_path / "pt2")
    convert("pt2", "torch-module", tmp_path / "pt2", tmp_path / "module")
    a, b = load("onnx", source), load("torch-module", tmp_path / "module")
    for case in proof_cases.cases(a.signature()):
        expected, got = a.run(case.arrays), b.run(case.arrays)
        assert all(models.error(got[n], expected[n]) < 1e-5 for n in expected)


def test_the_docstring_s_usage_works_without_our_code(small: Path, tmp_path: Path) -> None:
    convert("pt2", "torch-module", small, tmp_path / "module")
    text = (tmp_path / "module" / "model.py").read_text().split('"""')[1]
    usage = "\n".join(line.strip() for line in text.splitlines() if line.startswith("    "))
    usage = usage.replace("model(in_x_0, v_class)", "model(torch.ones(2, 4), torch.ones(2, 2, dtype=torch.int64))")
    script = f"import torch\n{usage}\nprint([list(o.shape) for o in outputs])"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, '')\n{script}"],
        cwd=tmp_path / "module",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[[2, 3], [2]]"


@pytest.mark.parametrize(
    "line",
    [
        "import os",
        "from os import system",
        "eval('1')",
        "open('x')",
        "torch.load('x')",
        "(lambda: 0)()",
        "class Other: pass",
        "torch.x = 1",
        "aten.add.Tensor.__globals__()",
        "@aten.add.Tensor\ndef forward(): return 1",
    ],
)
def test_a_changed_module_is_not_run(line: str, small: Path, tmp_path: Path) -> None:
    convert("pt2", "torch-module", small, tmp_path / "module")
    path = tmp_path / "module" / "model.py"
    module_source.check_source(path.read_text())
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(JobFailed, match="generated module"):
        load("torch-module", tmp_path / "module")


def test_names_of_a_model_stay_names(tmp_path: Path) -> None:
    """An input may be called anything; in the source it is an identifier, in the runner it is what it was."""
    name = 'x"""\nimport os\n"""'
    given = (torch.zeros(3, 4), torch.zeros(3, 2, dtype=torch.int64))
    signature = Signature((Value(name, "float32", (3, 4)), Value("self", "int64", (3, 2))), SIGNATURE.outputs)
    (tmp_path / "pt2").mkdir()
    pt2_files.save(torch.export.export(Small().eval(), given), tmp_path / "pt2", signature)
    convert("pt2", "torch-module", tmp_path / "pt2", tmp_path / "module")
    assert "import os" not in [line.strip() for line in (tmp_path / "module" / "model.py").read_text().splitlines()]
    assert json.loads((tmp_path / "module" / "signature.json").read_text())["inputs"][0]["name"] == name
    got = load("torch-module", tmp_path / "module").run({name: given[0].numpy(), "self": given[1].numpy()})
    assert got["out:0"].shape == (3, 3)
