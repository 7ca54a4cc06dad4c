"""Models taken apart and packed again: weights behind the flatbuffer, aligned buffers, files over 2 GB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from lib.errors import InvalidFile
from lib.tflite import codes, repack
from lib.tflite import file as tflite_file
from lib.tflite import metadata as tflite_metadata
from tests.convert.edge_run import convert
from tests.convert.tflite_models import dense
from tests.tflite import files

LABELS = list("abcd")


def computed(path: Path, seed: int = 0) -> list[np.ndarray]:
    runner = Interpreter(str(path))
    runner.allocate_tensors()
    for row in runner.get_input_details():
        runner.set_tensor(row["index"], np.random.default_rng(seed).random(row["shape"]).astype(row["dtype"]))
    runner.invoke()
    return [runner.get_tensor(row["index"]) for row in runner.get_output_details()]


@pytest.fixture
def behind(tmp_path: Path) -> Path:
    """A classifier whose weights lie behind its flatbuffer."""
    model, _ = files.classifier_model()
    (tmp_path / "behind.tflite").write_bytes(files.outside(model))
    return tmp_path / "behind.tflite"


def test_weights_come_inside(behind: Path, tmp_path: Path) -> None:
    assert all(b["offset"] > 1 for b in tflite_file.read(behind)["buffers"][1:])
    made = tflite_metadata.classifier(LABELS)
    tflite_metadata.write(behind, tmp_path / "b.tflite", made)
    assert tflite_metadata.read(tmp_path / "b.tflite") == made
    assert not any(b["offset"] for b in tflite_file.read(tmp_path / "b.tflite")["buffers"])
    np.testing.assert_array_equal(computed(behind), computed(tmp_path / "b.tflite"))


def test_a_file_of_the_quantiser(tmp_path: Path) -> None:
    """It keeps weights behind the flatbuffer from 256 kB on; its metadata outlive it, their files do not."""
    source = dense(tmp_path / "a", width=100_000)[0] / "model.tflite"
    tflite_metadata.write(source, source, tflite_metadata.classifier(LABELS, name="kept"))
    convert("tflite", "tflite-int8", tmp_path / "a", tmp_path / "b")
    made = tmp_path / "b" / "model.tflite"
    assert any(b["offset"] > 1 for b in tflite_file.read(made)["buffers"])
    dropped = tflite_metadata.read(made)
    assert dropped is not None and (dropped.name, dropped.labels) == ("kept", ())
    again = tflite_metadata.edited(dropped, {"labels": LABELS})
    tflite_metadata.write(made, tmp_path / "c.tflite", again)
    assert tflite_metadata.read(tmp_path / "c.tflite") == again
    np.testing.assert_array_equal(computed(made), computed(tmp_path / "c.tflite"))


def test_operator_codes_of_such_a_file_are_renewed(behind: Path, tmp_path: Path) -> None:
    codes.upgrade_operator_codes(behind, tmp_path / "b.tflite", numbered=True)
    np.testing.assert_array_equal(computed(behind), computed(tmp_path / "b.tflite"))


def test_metadata_behind_the_flatbuffer_are_read(tmp_path: Path) -> None:
    files.classifier(tmp_path / "a.tflite")
    tflite_metadata.write(tmp_path / "a.tflite", tmp_path / "a.tflite", tflite_metadata.classifier(LABELS, name="far"))
    model = repack.unpack(tmp_path / "a.tflite")
    (tmp_path / "b.tflite").write_bytes(files.outside(model))
    found = tflite_metadata.read(tmp_path / "b.tflite")
    assert found is not None and (found.name, found.labels) == ("far", ())


def test_weights_are_aligned(tmp_path: Path) -> None:
    files.classifier(tmp_path / "a.tflite")
    repack.save(repack.unpack(tmp_path / "a.tflite"), tmp_path / "b.tflite")
    read = tflite_file.read(tmp_path / "b.tflite")
    start = np.frombuffer(read["whole"], np.uint8).ctypes.data
    held = [b["data"].ctypes.data - start for b in read["buffers"] if len(b["data"])]
    assert len(held) == 2 and not any(at % repack.ALIGNED for at in held)


def test_other_entries_and_shared_buffers_stay(tmp_path: Path) -> None:
    """A buffer that an entry of metadata shares with a tensor is not written over."""
    model, weights = files.classifier_model()
    model.metadata = [files.entry("TFLITE_METADATA", 2), files.entry("other", 1)]
    (tmp_path / "a.tflite").write_bytes(files.packed(model))
    parts = repack.unpack(tmp_path / "a.tflite")
    repack.set_metadata_entry(parts, "TFLITE_METADATA", b"new")
    repack.save(parts, tmp_path / "b.tflite")
    read = tflite_file.read(tmp_path / "b.tflite")
    assert [e["name"] for e in read["metadata"]] == ["TFLITE_METADATA", "other"]
    assert read["buffers"][read["metadata"][0]["buffer"]]["data"].tobytes() == b"new"
    np.testing.assert_array_equal(tflite_file.stored(read, read["subgraphs"][0]["tensors"][2]), weights)


def test_metadata_written_twice_leave_no_old_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    files.classifier(path)
    for name in ("long " * 1000, "short"):
        tflite_metadata.write(path, path, tflite_metadata.classifier(LABELS, name=name))
    assert b"long long" not in path.read_bytes()


def test_over_two_gigabytes_are_refused(tmp_path: Path) -> None:
    """Weights behind the flatbuffer may be that many; a hole in the file stands for them."""
    model, _ = files.classifier_model()
    size = 2_200_000_000
    model.buffers.append(files.far_buffer(4096, size))
    path = tmp_path / "a.tflite"
    path.write_bytes(files.packed(model))
    with path.open("r+b") as file:
        file.truncate(4096 + size)
    assert tflite_metadata.read(path) is None
    with pytest.raises(InvalidFile, match=r"take 2\.2 GB; it can only be rewritten with at most 2\.1 GB"):
        tflite_metadata.write(path, tmp_path / "b.tflite", tflite_metadata.classifier(LABELS))
    assert not (tmp_path / "b.tflite").exists()


@pytest.mark.parametrize(("name", "buffer"), [("TFLITE_METADATA", 99), ("", 0)])
def test_an_entry_without_a_buffer_or_a_name_is_refused(tmp_path: Path, name: str, buffer: int) -> None:
    """The interpreter itself follows both without looking."""
    model, _ = files.classifier_model()
    model.metadata = [files.entry(name, buffer)]
    (tmp_path / "a.tflite").write_bytes(files.packed(model))
    for reader in (tflite_file.read, tflite_metadata.read):
        with pytest.raises(InvalidFile, match="an entry of metadata has no name or no buffer"):
            reader(tmp_path / "a.tflite")
