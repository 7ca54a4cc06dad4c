"""JAX examples: they depend on their inputs, and their ONNX computes the same at every batch size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lib.convert.formats import load
from lib.convert.formats.jax.examples import EXAMPLES
from lib.errors import InvalidFile, InvalidValue, JobFailed
from tests.convert import models
from tests.convert.edge_run import convert


def artifact(name: object, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "jax.json").write_text(json.dumps({"example": name}))
    return folder


def made(runner: object, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    (value,) = runner.signature().inputs
    shape = [batch if d == "batch" else d for d in value.shape]
    return {value.name: np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_becomes_onnx_with_a_dynamic_batch(name: str, tmp_path: Path) -> None:
    source = load("jax", artifact(name, tmp_path / "source"))
    convert("jax", "onnx", tmp_path / "source", tmp_path / "target")
    target = load("onnx", tmp_path / "target")
    for batch in (1, 3):
        given = made(source, batch)
        ((out, want),) = source.run(given).items()
        got = target.run(given)
        assert list(got) == [out] and got[out].dtype == want.dtype == np.float32
        assert models.error(got[out], want) < 1e-5
        assert models.error(source.run(made(source, batch, 1))[out], want) > 0.05
    ours, theirs = source.signature(), target.signature()
    assert (ours.inputs[0].name, ours.inputs[0].shape) == (theirs.inputs[0].name, theirs.inputs[0].shape)
    assert ours.outputs == theirs.outputs


def test_an_example_gives_the_same_numbers_every_time(tmp_path: Path) -> None:
    one, two = (load("jax", artifact("mlp", tmp_path / d)) for d in "ab")
    assert np.array_equal(one.run(made(one, 2))["logits"], two.run(made(two, 2))["logits"])


@pytest.mark.parametrize("text", ["", "[]", '{"other": 1}', "[" * 900, '{"example"'])
def test_no_artifact(text: str, tmp_path: Path) -> None:
    (tmp_path / "jax.json").write_text(text)
    with pytest.raises(InvalidFile, match="mlp, convnet, attention"):
        load("jax", tmp_path)


@pytest.mark.parametrize("name", ["../mlp", "os.system", 3, ["mlp"]])
def test_no_example(name: object, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="allowed: mlp"):
        load("jax", artifact(name, tmp_path))


def test_wrong_inputs(tmp_path: Path) -> None:
    runner = load("jax", artifact("mlp", tmp_path))
    with pytest.raises(JobFailed, match="float32 array called 'x'"):
        runner.run({"x": np.zeros((1, 16))})
    with pytest.raises(JobFailed, match="JAX refused"):
        runner.run({"x": np.zeros((1, 17), np.float32)})
