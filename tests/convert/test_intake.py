"""What the intake lets through is what its loader reads; its lists fit the libraries they are about."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lib.archives import Limits, opened
from lib.convert.core import transformers_config
from lib.convert.formats.keras import allowed_classes as keras_names
from lib.convert.formats.pt2.expressions import check_expression
from lib.convert.formats.saved_model.allowed_operators import ALLOWED, SAVING, WHY
from lib.convert.formats.saved_model.check import checked
from lib.convert.formats.weights.pickles import GLOBALS
from lib.convert.intake.admit import admit_upload, check_weights
from lib.errors import InvalidFile
from tests.convert.hostile import valid

ROOT = Path(__file__).parents[2]


def taken(data: dict[str, bytes] | bytes, folder: Path, **how: Any) -> tuple[str, list[str], Path]:
    """``data`` through ``admit_upload``; the artifact's folder."""
    (folder / "up").mkdir()
    out = folder / "out"
    out.mkdir()
    files = {}
    for k, (name, content) in enumerate((data if isinstance(data, dict) else {"upload": data}).items()):
        files[name] = folder / "up" / str(k)
        files[name].write_bytes(content)
    return *admit_upload(files, out, **how), out


def test_a_checkpoint_comes_through_as_it_is(tmp_path: Path) -> None:
    _, _, out = taken(valid.checkpoint(), tmp_path)
    assert (out / "model.pt").read_bytes() == valid.checkpoint()
    assert set(torch.load(out / "model.pt", weights_only=True)) == {"layer.weight", "layer.bias"}


@pytest.mark.parametrize("data", [b"PK", b"PK\x03", b"PK\x03\x04", b"PK\x05\x06" + bytes(17)])
def test_the_first_bytes_of_a_zip(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="zip archive ends after a few bytes"):
        taken({"model.zip": data}, tmp_path)


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float64", "int8", "uint8", "int64", "bool", "complex64", "float8_e4m3fn"]
)
@pytest.mark.parametrize("old", [False, True])
def test_every_dtype_of_a_checkpoint(dtype: str, old: bool, tmp_path: Path) -> None:
    content = {
        "w": torch.zeros(3, dtype=getattr(torch, dtype)),
        "p": torch.nn.Parameter(torch.zeros(2)),
        "n": [1, 2.5, None, "x"],
    }
    assert taken(valid.saved(content, _use_new_zipfile_serialization=not old), tmp_path)[0] == "checkpoint"


def test_no_global_is_allowed_that_torch_refuses() -> None:
    from torch._weights_only_unpickler import _get_allowed_globals

    known = {name.replace("__builtin__", "builtins") for name in (g.replace(" ", ".", 1) for g in GLOBALS)}
    missing = known - set(_get_allowed_globals())
    assert missing <= {"torch.half", "torch.float", "torch.double"}, missing


@pytest.mark.parametrize("bias", [True, False])
def test_an_exported_program_with_arithmetic_on_sizes(bias: bool, tmp_path: Path) -> None:
    class Sizes(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = x.shape[0] * 2 + (1 if bias else 0)
            return torch.cat([x.reshape(-1), torch.zeros(rows // 2)])

    program = torch.export.export(
        Sizes(), (torch.zeros(5, 4),), dynamic_shapes={"x": {0: torch.export.Dim("n", min=2, max=64)}}
    )
    file = io.BytesIO()
    torch.export.save(program, file)
    _, _, out = taken(file.getvalue(), tmp_path, allow_pt2=True)
    found = torch.export.load(out / "model.pt2").module()(torch.ones(3, 4))
    assert found.shape == (12 + 3,)


def test_exported_programs_are_closed_by_default(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="PT2_UPLOADS=1"):
        taken(valid.exported(), tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "s0",
        "Symbol('s77', positive=True, integer=True)",
        "2*s0 + 1",
        "Max(1, FloorDiv(s0, 2))",
        "-3",
        "Mul(Integer(2), Symbol('s0', integer=True), evaluate=False)",
        "Piecewise((s0, s0 < 4), (4, True))",
        "Identity(ModularIndexing(s0, 1, 8)) + ceiling(OpaqueUnaryFn_sqrt(u0))",
        "int_oo",
        "1" * 18 + " + Identity(1)",
    ],
)
def test_expressions_that_torch_writes(text: str) -> None:
    check_expression(text)


@pytest.mark.slow
def test_a_keras_model_of_ours_is_read_by_keras(tmp_path: Path) -> None:
    """And loses its compile configuration, wherever a class of its own stands in it."""
    config = valid.keras_config(compile_config={"loss": {"module": "mine", "class_name": "Loss", "config": {}}})
    format, messages, out = taken(valid.keras(config), tmp_path)
    assert format == "keras" and "left out" in messages[0]
    with zipfile.ZipFile(out / "model.keras") as archive:
        assert archive.namelist() == ["metadata.json", "config.json", "model.weights.h5"]
        assert "compile_config" not in archive.read("config.json").decode()
    program = (
        "import sys, keras, numpy as np\n"
        "model = keras.saving.load_model(sys.argv[1], safe_mode=True)\n"
        "print(np.asarray(model(np.ones((1, 4), 'f4')).detach()).tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(out / "model.keras")],
        env=os.environ | {"KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == [[19.0, 23.0, 27.0]]  # columns of 0..11 in four rows, and 1


def test_no_layer_is_allowed_that_keras_does_not_have() -> None:
    """Read from Keras' own files: importing it takes seconds. What it has and we do not is a choice, written down."""
    import importlib.util

    spec = importlib.util.find_spec("keras")
    assert spec is not None and spec.submodule_search_locations
    text = (Path(spec.submodule_search_locations[0]) / "layers" / "__init__.py").read_text()
    names = {line.rsplit(" ", 1)[1].strip(",()") for line in text.splitlines() if " as " in line}
    layers = {name for name in names if name[:1].isupper()}
    left_out = {
        *("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"),
        *("TextVectorization", "StringLookup", "IntegerLookup", "Hashing", "HashedCrossing"),
        *("Layer", "Wrapper", "Input", "InputSpec", "MaxNumBoundingBoxes"),
        *("ContrastLimitedAdaptiveHistogramEqualization", "RandomElasticTransform"),
    }
    assert set(keras_names.LAYERS) <= layers
    assert layers - set(keras_names.LAYERS) <= left_out, layers - set(keras_names.LAYERS) - left_out


def test_a_tflite_model_of_ours_runs(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    _, _, out = taken(valid.tflite(), tmp_path)
    interpreter = Interpreter(str(out / "model.tflite"))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.zeros((1, 4), "f4"))
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert found.tolist() == [[1, 0, 3, 0]]


def test_a_saved_model_with_links_is_not_loaded(tmp_path: Path) -> None:
    """The check that comes before TensorFlow loads an artifact, whoever made it."""
    _, _, out = taken(valid.saved_model(), tmp_path)
    assert checked(out) == out / "saved_model"
    (out / "saved_model" / "variables" / "more").symlink_to(tmp_path)
    with pytest.raises(InvalidFile, match="has links in it"):
        checked(out)


def test_the_lists_of_operators_do_not_contradict_each_other() -> None:
    assert not ALLOWED & SAVING and not ALLOWED & WHY.keys()
    assert not any(word in op for op in ALLOWED for word in ("File", "PyFunc", "Dataset", "Rpc", "Print", "Save", "Restore"))


def test_a_config_loses_where_it_came_from(tmp_path: Path) -> None:
    config = valid.config(
        _name_or_path="/home/me/bert", text_config={"_attn_implementation": "owner/kernel", "model_type": ""}
    )
    _, _, out = taken({"config.json": config}, tmp_path)
    found = json.loads((out / "config.json").read_text())
    assert "_name_or_path" not in found and found["text_config"] == {"model_type": ""}


@pytest.mark.parametrize("kind", ["bert", "gpt2", "resnet", "vit", "t5", "llama", "whisper", "clip", "deberta-v2"])
def test_configs_that_transformers_writes(kind: str) -> None:
    from transformers import AutoConfig

    found = json.loads(AutoConfig.for_model(kind).to_json_string(use_diff=False))
    assert transformers_config.check_config(found)["model_type"] == kind


@pytest.mark.parametrize("make", [valid.safetensors, valid.checkpoint, valid.old_checkpoint])
def test_weights_alone(make: Any, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(make())
    assert check_weights(tmp_path / "w") == ("safetensors" if make is valid.safetensors else "checkpoint")
    (tmp_path / "x").write_bytes(valid.tflite())
    with pytest.raises(InvalidFile, match="no weights"):
        check_weights(tmp_path / "x")


@pytest.mark.parametrize("make", [valid.saved_model, valid.diffusers])
@pytest.mark.parametrize("root", ["", "my model/"])
def test_zips_made_on_a_mac(make: Any, root: str, tmp_path: Path) -> None:
    """Finder adds a folder of its own beside the model's, and files of its own inside it; none of them arrives."""
    inner = {name.partition("/")[2]: data for name, data in valid.unzipped(make()).items() if not name.endswith(".md")}
    members: dict[str, bytes | str] = {}
    for name, data in inner.items():
        folder, _, last = name.rpartition("/")
        members |= {root + name: data, f"__MACOSX/{root}{folder}{'/' if folder else ''}._{last}": b"x"}
    members |= {f"{root}.DS_Store": b"x", "__MACOSX/._my model": b"x"}
    _, messages, out = taken(valid.zipped(members), tmp_path)
    found = {path.relative_to(out).as_posix().partition("/")[2] for path in out.rglob("*") if path.is_file()}
    assert found == set(inner) and not messages


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("big", [False, True])
def test_zips_as_programs_write_them(streamed: bool, big: bool, tmp_path: Path) -> None:
    """With sizes behind the members, and with 64-bit sizes."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return not streamed

        def seek(self, *where: int) -> int:
            if streamed:
                raise OSError
            return super().seek(*where)

        def tell(self) -> int:
            if streamed:
                raise OSError
            return super().tell()

    file = Pipe()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a", "ü/b"):
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=big) as member:
                member.write(b"words " * 100)
    (tmp_path / "a.zip").write_bytes(file.getvalue())
    with opened(tmp_path / "a.zip", Limits(members=2)) as found:
        assert found.read("ü/b") == b"words " * 100
    with pytest.raises(InvalidFile, match="at most 1 "), opened(tmp_path / "a.zip", Limits(members=1)):
        pass


def test_two_gigabytes_take_little_memory(tmp_path: Path) -> None:
    """Of a file with a hole in it; memory of the whole process, its imports among it."""
    program = (
        "import resource, sys\nfrom pathlib import Path\nfrom lib.convert.intake.admit import admit_upload\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(admit_upload({'w': Path(sys.argv[1])}, Path(sys.argv[2]))[0])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    size = 300 << 20  # as good as 2 GB, and no burden on the disk
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    with (tmp_path / "w").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "w"), str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    format, kilobytes = done.stdout.split()
    assert format == "safetensors" and int(kilobytes) < 40 << 10
    (tmp_path / "out" / "model.safetensors").unlink()


@pytest.mark.parametrize("name", ["from_file.default", "_print", "set_.source_Storage", "_save.default", "load"])
def test_operators_that_reach_files_or_memory_are_no_operators(name: str) -> None:
    from lib.convert.formats.pt2.check import _TARGET
    from lib.convert.formats.torch_module.source_code import CALLED

    assert not _TARGET.fullmatch(f"torch.ops.aten.{name}")
    assert not CALLED.fullmatch(f"aten.{name}")
    assert _TARGET.fullmatch("torch.ops.aten.conv2d.default")
    assert CALLED.fullmatch("aten.conv2d.default")


def test_a_pipelines_configs_lose_what_loads_something_else(tmp_path: Path) -> None:
    evil = {"use_kernels": True, "transformers_weights": "x", "attn_implementation": "owner/kernel", "_name_or_path": "x"}
    evil |= {"_attn_implementation": "owner/kernel", "experts_implementation": "owner/kernel"}
    config = json.dumps({"model_type": "clip_text_model", "hidden_size": 8, "text_config": dict(evil), **evil}).encode()
    _, _, out = taken(valid.diffusers(**{"pipe/text_encoder/config.json": config}), tmp_path)
    found = json.loads(next(out.rglob("text_encoder/config.json")).read_text())
    assert found == {"model_type": "clip_text_model", "hidden_size": 8, "text_config": {}}


def test_what_a_config_loses_is_the_same_for_every_source() -> None:
    from lib.convert.formats.diffusers.components import CODE_KEYS
    from lib.convert.formats.pytorch import transformers_models as transformers

    assert set(transformers_config.LOADING) <= set(transformers.DROPPED) & set(CODE_KEYS)
