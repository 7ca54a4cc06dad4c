"""Keras 3 without TensorFlow: the runner, and to ONNX."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from lib.convert.formats import load
from lib.errors import InvalidFile, JobFailed
from tests.convert.edge_run import convert


@pytest.fixture(autouse=True)
def torch_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the runner sets in its child process, set back after each test."""
    for name, value in (("KERAS_BACKEND", "torch"), ("CUDA_VISIBLE_DEVICES", ""), ("TF_CPP_MIN_LOG_LEVEL", "3")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("KERAS_HOME", "")
    monkeypatch.delenv("KERAS_HOME")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keras"


def test_the_signature_has_keras_names_and_what_inputs_mean(folder: Path) -> None:
    from tests.convert import keras_models

    runner = load("keras", keras_models.save(keras_models.words(), folder))
    values = {v.name: v for v in runner.signature().inputs}
    assert values["features"].shape == ("batch", 4) and values["features"].dtype == "float32"
    # Keras says float32 here; values of an Embedding are indices all the same
    assert (values["ids"].dtype, values["ids"].role, values["ids"].high) == ("int32", "tokens", 30)
    assert sorted(v.name for v in runner.signature().outputs) == ["alone", "both"]
    again = load("keras", folder)
    assert again.signature() == runner.signature(), "names must not depend on how many models were loaded before"
    inputs = {"ids": np.arange(14, dtype=np.int32).reshape(2, 7), "features": np.ones((2, 4), np.float32)}
    found = runner.run(inputs)
    assert found["alone"].shape == (2, 3) and found["both"].shape == (2, 2)
    assert not np.allclose(found["both"], runner.run(inputs | {"features": np.zeros((2, 4), np.float32)})["both"])
    assert all((found[n] == again.run(inputs)[n]).all() for n in found)


def test_it_runs_as_for_inference(folder: Path) -> None:
    from tests.convert import keras_models

    model = keras_models.pictures()
    runner = load("keras", keras_models.save(model, folder))
    x = np.random.default_rng(0).standard_normal((3, 16, 16, 3)).astype(np.float32)
    one, two = runner.run({"picture": x}), runner.run({"picture": x})
    assert [v.name for v in runner.signature().outputs] == ["scores", "box"]
    assert all((one[n] == two[n]).all() for n in one), "a dropout was left on"
    wanted = [np.asarray(o.detach()) for o in model(x, training=False)]
    np.testing.assert_allclose(one["scores"], wanted[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one["box"], wanted[1], rtol=1e-5, atol=1e-6)
    with pytest.raises(JobFailed, match="Missing inputs: picture"):
        runner.run({})


@pytest.mark.parametrize("name", ["pictures", "words"])
def test_to_onnx_with_a_free_batch(folder: Path, tmp_path: Path, name: str) -> None:
    from lib.convert.proof import cases as proof_cases
    from tests.convert import keras_models

    source = load("keras", keras_models.save(getattr(keras_models, name)(), folder))
    said = convert("keras", "onnx", folder, tmp_path / "onnx", opset="18")
    assert said["fixed"] == {}
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    dtypes = {i.name: {"tensor(float)": np.float32, "tensor(int32)": np.int32}[i.type] for i in session.get_inputs()}
    assert list(dtypes) == [v.name for v in source.signature().inputs]
    names = [v.name for v in source.signature().outputs]
    sizes = set()
    for case in proof_cases.cases(source.signature(), (0, 1)):
        wanted = source.run(case.arrays)
        given = {n: a.astype(dtypes[n]) for n, a in case.arrays.items()}
        for n, found in zip(names, session.run(names, given), strict=True):
            np.testing.assert_allclose(found, wanted[n], rtol=1e-3, atol=1e-5)
            sizes.add(len(found))
    assert sizes == {1, 3}


def test_code_in_a_file_is_not_run(folder: Path) -> None:
    import keras

    folder.mkdir()
    x = keras.Input((3,))
    keras.Model(x, keras.layers.Lambda(lambda t: t * 2)(x)).save(folder / "model.keras")
    with pytest.raises(InvalidFile, match="Keras cannot load this file"):
        load("keras", folder)


@pytest.mark.parametrize("what", ["nothing", "no zip", "empty zip", "cut off"])
def test_what_is_no_keras_file(folder: Path, what: str) -> None:
    from tests.convert import keras_models

    keras_models.save(keras_models.pictures(), folder)
    path = folder / "model.keras"
    data = path.read_bytes()
    path.unlink()
    if what == "no zip":
        path.write_bytes(b"hello")
    elif what == "empty zip":
        zipfile.ZipFile(path, "w").close()
    elif what == "cut off":
        path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InvalidFile) as caught:
        load("keras", folder)
    assert str(folder) not in caught.value.message


@pytest.mark.slow
def test_no_settings_of_the_home_folder_are_obeyed(folder: Path, tmp_path: Path) -> None:
    """In a process of its own: Keras reads its keras.json when it is imported."""
    from tests.convert import keras_models

    keras_models.save(keras_models.words(), folder)
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text('{"floatx": "float16", "image_data_format": "channels_first"}')
    program = (
        "import sys; from pathlib import Path; from lib.convert.formats.keras import models as keras_models; "
        "keras_models.load(Path(sys.argv[1]), 'torch'); import keras; "
        "print(keras.config.floatx(), keras.config.image_data_format())"
    )
    variables = {k: v for k, v in os.environ.items() if k != "KERAS_HOME"} | {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        cwd=Path(__file__).parents[2],
        env=variables,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split() == ["float32", "channels_last"], done.stderr[-1000:]
