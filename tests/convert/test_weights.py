"""Checkpoints and safetensors: the same bits both ways, and nothing of a pickle is executed."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lib.convert.edges import checkpoint_to_safetensors, safetensors_to_checkpoint
from lib.convert.formats import load
from lib.convert.formats.weights.runner import read_checkpoint
from lib.convert.formats.weights.safetensors_check import check_safetensors
from lib.errors import InvalidFile
from tests.convert.hostile import valid

DTYPES = (
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.int64,
    torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.bool, torch.complex64,
)  # fmt: skip


def folders(home: Path) -> tuple[Path, Path, Path]:
    made = tuple(home / name for name in ("source", "there", "back"))
    for folder in made:
        folder.mkdir()
    return made


def quiet(stage: str, share: float | None = None) -> None:
    assert stage


def bits(arrays: dict[str, np.ndarray]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (a.dtype.name, a.shape, a.tobytes()) for name, a in arrays.items()}


def test_there_and_back_keeps_every_bit_of_every_dtype(tmp_path: Path) -> None:
    source, there, back = folders(tmp_path)
    made = torch.Generator().manual_seed(0)
    tensors = {
        str(d): torch.randint(0, 2 if d == torch.bool else 120, (3, 5), generator=made, dtype=torch.uint8).to(d)
        for d in DTYPES
    }
    tensors |= {"scalar": torch.tensor(-0.0), "none": torch.zeros(0, 3), "odd": torch.tensor([float("nan"), -float("inf")])}
    tensors["turned"] = torch.arange(6.0).reshape(2, 3).T
    torch.save(tensors, source / "model.pt")
    assert not checkpoint_to_safetensors.convert(quiet, source, there, {})["messages"]
    assert not safetensors_to_checkpoint.convert(quiet, there, back, {})["messages"]
    runners = [load("checkpoint", source), load("safetensors", there), load("checkpoint", back)]
    assert not runners[0].signature().inputs
    expected = bits(runners[0].run({}))
    assert len(expected) == len(tensors)
    assert expected["torch.bfloat16"][0] == "bfloat16" and expected["torch.float8_e5m2"][0] == "float8_e5m2"
    assert bits(runners[1].run({})) == expected and bits(runners[2].run({})) == expected
    for value in runners[1].signature().outputs:
        assert (value.dtype, value.shape) == expected[value.name][:2]


def test_one_changed_bit_shows(tmp_path: Path) -> None:
    for name, value in (("a", 1.0), ("b", np.nextafter(np.float32(1), np.float32(2)))):
        (tmp_path / name).mkdir()
        save_file({"w": torch.tensor([value], dtype=torch.float32)}, tmp_path / name / "model.safetensors")
    first, second = (bits(load("safetensors", tmp_path / name).run({})) for name in ("a", "b"))
    assert first != second


def test_a_training_checkpoint_is_unwrapped_and_says_what_is_left_out(tmp_path: Path) -> None:
    source, there, _ = folders(tmp_path)
    weights = {"module.layer.weight": torch.ones(2), "steps": 3}
    torch.save({"epoch": 7, "state_dict": weights, "lr": 0.1}, source / "model.pt")
    messages = " ".join(checkpoint_to_safetensors.convert(quiet, source, there, {})["messages"])
    assert "epoch, lr" in messages and "steps" in messages
    assert list(load_file(there / "model.safetensors")) == ["module.layer.weight"]


def test_other_nesting_is_flattened_without_loss(tmp_path: Path) -> None:
    torch.save(
        {"model": {"w": torch.ones(1)}, "ema": {"w": torch.zeros(1)}, "moments": [torch.ones(2)]}, tmp_path / "model.pt"
    )
    tensors, messages = read_checkpoint(tmp_path / "model.pt")
    assert set(tensors) == {"model.w", "ema.w", "moments.0"} and not messages
    torch.save({"a.b": torch.ones(1), "a": {"b": torch.zeros(1)}}, tmp_path / "model.pt")
    with pytest.raises(InvalidFile, match=r"both called 'a\.b'"):
        read_checkpoint(tmp_path / "model.pt")


def test_tied_weights_are_written_in_full_and_named(tmp_path: Path) -> None:
    source, there, _ = folders(tmp_path)
    table = torch.arange(8.0).reshape(4, 2)
    torch.save({"embed": table, "head": table, "part": table[1:3], "alone": torch.ones(1)}, source / "model.pt")
    messages = checkpoint_to_safetensors.convert(quiet, source, there, {})["messages"]
    assert len(messages) == 1 and "embed, head, part" in messages[0]
    found = load_file(there / "model.safetensors")
    assert torch.equal(found["head"], table) and torch.equal(found["part"], table[1:3])


def test_metadata_is_not_lost_silently(tmp_path: Path) -> None:
    source, there, _ = folders(tmp_path)
    save_file({"w": torch.ones(1)}, source / "model.safetensors", metadata={"format": "pt", "author": "me"})
    assert "author" in safetensors_to_checkpoint.convert(quiet, source, there, {})["messages"][0]


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


def hostile(path: Path, mark: Path, how: str) -> None:
    if how == "zip":
        torch.save({"w": torch.ones(1), "x": Touch(mark)}, path)
    elif how == "legacy":
        torch.save({"w": torch.ones(1), "x": Touch(mark)}, path, _use_new_zipfile_serialization=False)
    elif how == "bare":
        path.write_bytes(pickle.dumps(Touch(mark)))
    elif how == "module":
        torch.save(torch.nn.Linear(2, 2), path)
    elif how == "npz":
        np.savez(path.with_suffix(".npz"), a=np.ones(2))
        path.with_suffix(".npz").rename(path)
    elif how == "zip without a pickle":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("readme.txt", "nothing")
    elif how == "cut":
        torch.save({"w": torch.ones(1000)}, path)
        path.write_bytes(path.read_bytes()[:1500])
    elif how == "sparse":
        torch.save({"w": torch.eye(3).to_sparse()}, path)
    elif how == "meta":
        torch.save({"w": torch.ones(3, device="meta")}, path)
    elif how == "numbers":
        torch.save({"epoch": 3}, path)
    else:
        path.write_bytes(b"not a model")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("zip", "system"),
        ("legacy", "system"),
        ("bare", "more than tensors"),
        ("module", "Linear"),
        ("npz", "not a readable PyTorch checkpoint"),
        ("zip without a pickle", "not a readable PyTorch checkpoint"),
        ("cut", "not a readable PyTorch checkpoint"),
        ("text", "."),
        ("sparse", "sparse"),
        ("meta", "no values|not a readable PyTorch checkpoint"),
        ("numbers", "no named tensors"),
    ],
)
def test_bad_checkpoints_are_refused_and_nothing_runs(how: str, says: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "touched", tmp_path / "model.pt"
    hostile(path, mark, how)
    with pytest.raises(InvalidFile, match=says) as caught:
        read_checkpoint(path)
    assert not mark.exists()
    assert str(tmp_path) not in caught.value.message and "weights_only=False" not in caught.value.message
    assert "add_safe_globals" not in caught.value.message


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x10\0\0\0\0\0\0\0{}", b"{" * 100])
def test_bad_safetensors_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(InvalidFile) as caught:
        load("safetensors", tmp_path)
    assert str(tmp_path) not in caught.value.message


ENTRY = b'"w":{"dtype":"U8","shape":[24],"data_offsets":[0,24]'


@pytest.mark.parametrize(
    "header",
    [b"{" + ENTRY + b',"pickle":1}}', b"{" + ENTRY.replace(b"U8", b"I8") + b"}," + ENTRY + b"}}", b" {" + ENTRY + b"}}"],
)
def test_what_the_reader_of_safetensors_lets_through_changes_nothing(header: bytes, tmp_path: Path) -> None:
    """A key that nobody knows, a name twice, a space in front: the tensor is read as the last entry says."""
    (tmp_path / "model.safetensors").write_bytes(valid.safetensors(header, bytes(range(24))))
    assert check_safetensors(tmp_path / "model.safetensors") == ["w"]
    found = load("safetensors", tmp_path).run({})["w"]
    assert found.dtype == np.uint8 and found.tolist() == list(range(24))


def test_a_tensor_of_too_many_dimensions_is_refused(tmp_path: Path) -> None:
    save_file({"w": torch.ones([1] * 65)}, tmp_path / "model.safetensors")
    with pytest.raises(InvalidFile, match="has 65 dimensions; at most 64"):
        load("safetensors", tmp_path)


def test_a_size_that_no_array_has_beside_a_size_of_nothing(tmp_path: Path) -> None:
    header = b'{"w":{"dtype":"F32","shape":[0,4611686018427387904],"data_offsets":[0,0]}}'
    (tmp_path / "model.safetensors").write_bytes(valid.safetensors(header, b""))
    with pytest.raises(InvalidFile, match="which numpy does not support"):
        load("safetensors", tmp_path)


def test_a_few_lists_that_hold_each_other_often_are_not_walked_for_ever(tmp_path: Path) -> None:
    inner: list[object] = []
    for _ in range(12):
        inner = [inner] * 30  # 30^12 paths through 13 lists
    torch.save(inner, tmp_path / "model.pt")
    with pytest.raises(InvalidFile, match="entries"):
        read_checkpoint(tmp_path / "model.pt")
