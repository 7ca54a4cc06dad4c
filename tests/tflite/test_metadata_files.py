"""Metadata of other writers, and damaged ones: read as they are, or refused in words and nothing else."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib.errors import InvalidFile, InvalidValue
from lib.tflite import associated_files, metadata_table
from lib.tflite import metadata as tflite_metadata
from lib.tflite.metadata import Metadata
from lib.tflite.metadata_problems import problems
from tests.tflite import files

LABELS = list("abcd")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with metadata and labels."""
    files.classifier(tmp_path / "a.tflite")
    made = tflite_metadata.classifier(LABELS, name="pets", author="me", mean=[127], std=[128])
    tflite_metadata.write(tmp_path / "a.tflite", tmp_path / "a.tflite", replace(made, files={"notes.txt": b"hello"}))
    return tmp_path / "a.tflite"


def found(path: Path) -> Metadata:
    read = tflite_metadata.read(path)
    assert read is not None
    return read


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return made.getvalue()


def without_files(path: Path) -> bytes:
    """The file up to its zip."""
    data = path.read_bytes()
    return data[: data.index(b"PK\x03\x04")]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_offsets_of_a_zip_may_count_from_its_own_start(path: Path, method: int) -> None:
    """As where a zip of its own was put behind the model."""
    path.write_bytes(without_files(path) + archive({"labels.txt": b"w\nx\ny\nz\n", "more.bin": b"1"}, method))
    read = found(path)
    assert (read.labels, read.files) == (("w", "x", "y", "z"), {"more.bin": b"1"})


def test_what_has_no_field_here_is_kept(path: Path) -> None:
    """Score calibration, groups, a custom part and labels of a second language, as Model Maker writes them."""
    made, table = metadata_table.generated(), files.table(path)
    graph = table.subgraphMetadata[0]
    output = graph.outputTensorMetadata[0]
    unit, options = made.ProcessUnitT(), made.ScoreCalibrationOptionsT()
    unit.optionsType, unit.options, options.defaultScore = made.ProcessUnitOptions.ScoreCalibrationOptions, options, 0.25
    group, custom, other = made.TensorGroupT(), made.CustomMetadataT(), made.AssociatedFileT()
    group.name, group.tensorNames = b"detection", [b"probability"]
    custom.name, custom.data = b"SEGMENTER_METADATA", np.arange(40, dtype=np.uint8)
    other.name, other.type, other.locale = b"labels_de.txt", metadata_table.AXIS_LABELS, b"de"
    output.processUnits, output.dimensionNames = [unit], [b"batch", b"class"]
    output.associatedFiles = [other, *output.associatedFiles]
    graph.outputTensorGroups, graph.customMetadata = [group], [custom]
    graph.inputTensorMetadata[0].content.contentProperties.defaultSize = made.ImageSizeT()
    graph.inputTensorMetadata[0].stats.max = [255.0, 254.0, 253.0]
    files.with_table(path, metadata_table.packed(table))
    members = {"labels.txt": b"a\nb\nc\nd\n", "labels_de.txt": b"A\nB\nC\nD\n"}
    associated_files.append(path, members)

    read = found(path)
    assert (read.labels, read.files) == (tuple(LABELS), {"labels_de.txt": members["labels_de.txt"]})
    assert read.inputs[0].range == (0.0, 255.0)
    tflite_metadata.write(path, path, tflite_metadata.edited(read, {"name": "other", "labels": ["1", "2", "3", "4"]}))
    assert found(path) == replace(read, name="other", labels=("1", "2", "3", "4"))
    after = files.table(path)
    table.name = b"other"
    assert metadata_table.packed(after) == metadata_table.packed(table)


def test_fewer_notes_than_inputs_and_no_graph_at_all(path: Path) -> None:
    table = metadata_table.generated().ModelMetadataT()
    table.name = b"only a name"
    files.with_table(path, metadata_table.packed(table))
    read = found(path)
    assert [n.shape for n in (*read.inputs, *read.outputs)] == [(1, 8, 8, 3), (1, 4)]
    tflite_metadata.write(path, path, tflite_metadata.edited(read, {"labels": LABELS}))
    assert found(path) == replace(read, labels=tuple(LABELS))


def test_labels_at_an_output_of_another_length_stay(path: Path) -> None:
    """Some of Google's own files are so."""
    files.with_file(path, "labels.txt", b"left\nright\n")
    read = found(path)
    assert problems(read) == ["There are 2 labels for the 4 scores of the output."]
    tflite_metadata.write(path, path, tflite_metadata.edited(read, {"name": "new", "labels": ["l", "r"]}))
    assert found(path).labels == ("l", "r")


@pytest.mark.parametrize("name", ["../labels.txt", "c:\\labels.txt", "", "a//b", "x" * 5000, "tab\t.txt", "notes.txt"])
def test_labels_recorded_by_an_odd_name(path: Path, name: str) -> None:
    """No zip holds such a file; new labels get a plain name, and one that no other file has."""
    table = files.table(path)
    table.subgraphMetadata[0].outputTensorMetadata[0].associatedFiles[0].name = name.encode()
    files.with_table(path, metadata_table.packed(table))
    before = replace(found(path), files={"LABELS.txt": b"another"})
    assert before.labels == ()
    tflite_metadata.write(path, path, tflite_metadata.edited(before, {"labels": LABELS}))
    read = found(path)
    assert (read.labels, read.files) == (tuple(LABELS), {"LABELS.txt": b"another"})
    with zipfile.ZipFile(path) as made:
        assert made.namelist()[1] == ("notes.txt" if name == "notes.txt" else "labels-2.txt")


def test_labels_that_are_no_utf8(path: Path) -> None:
    files.with_file(path, "labels.txt", b"caf\xe9\nb\nc\nd\n")
    assert found(path).labels == ("caf\ufffd", "b", "c", "d")


def bomb() -> bytes:
    return archive({"labels.txt": bytes(60 << 20)})


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        (bomb(), "zip bomb"),
        (archive({"labels.txt": bytes(65 << 20)}, zipfile.ZIP_STORED), "Unpacked, the archive has 68,157,440 bytes"),
        (archive({f"{k}.txt": b"" for k in range(101)}), "101 members; at most 100"),
        (archive({"../labels.txt": b"a"}), "only plain names are unpacked"),
        (
            archive({"labels.txt": b"abcd"}, zipfile.ZIP_STORED).replace(b"abcd", b"abce"),
            "'labels.txt' in the archive is damaged",
        ),
        (archive({"labels.txt": b"a\n" * 100_001}), "at most 100,000 labels are read"),
        (archive({"labels.txt": np.random.default_rng(0).bytes(9 << 20)}), "at most 100,000 labels are read"),
    ],
    ids=["bomb", "big", "members", "names", "damaged", "labels", "bytes"],
)
def test_what_is_refused_of_a_zip(path: Path, tail: bytes, said: str) -> None:
    path.write_bytes(without_files(path) + tail)
    with pytest.raises(InvalidFile, match=said):
        tflite_metadata.read(path)


def test_every_truncation_of_the_metadata_is_refused(path: Path) -> None:
    data = metadata_table.packed(files.table(path))
    for length in range(len(data.rstrip(b"\0")) + 1):  # a text ends with one zero, and more to round the length up
        files.with_table(path, data[:length])
        with pytest.raises(InvalidFile, match="The metadata of the TensorFlow Lite file is damaged"):
            tflite_metadata.read(path)


def test_one_table_that_stands_for_billions_is_refused(path: Path) -> None:
    """Every list refers to the same table again and again: 80 kB that unpack to 10^12 objects."""
    import flatbuffers

    class Again:
        """Packs a part once, however often it is listed."""

        def __init__(self, part: Any) -> None:
            self.part, self.at = part, 0

        def Pack(self, builder: Any) -> int:
            self.at = self.at or self.part.Pack(builder)
            return self.at

    made = metadata_table.generated()
    table, graph, tensor = made.ModelMetadataT(), made.SubGraphMetadataT(), made.TensorMetadataT()
    tensor.processUnits = [Again(made.ProcessUnitT())] * 10_000
    graph.inputTensorMetadata = [Again(tensor)] * 10_000
    table.subgraphMetadata = [Again(graph)] * 10_000
    builder = flatbuffers.Builder(1024)
    builder.Finish(table.Pack(builder), b"M001")
    files.with_table(path, bytes(builder.Output()))
    with pytest.raises(InvalidFile, match="more than 500,000 parts"):
        tflite_metadata.read(path)


def test_metadata_of_another_kind_are_refused(path: Path) -> None:
    data = metadata_table.packed(files.table(path)).replace(b"M001", b"M002")
    files.with_table(path, data)
    with pytest.raises(InvalidFile, match="the identifier M001 is missing"):
        tflite_metadata.read(path)


def test_numbers_that_are_none_are_refused(path: Path) -> None:
    table = files.table(path)
    table.subgraphMetadata[0].inputTensorMetadata[0].processUnits[0].options.mean = [float("nan")]
    files.with_table(path, metadata_table.packed(table))
    with pytest.raises(InvalidFile, match="mean was"):
        tflite_metadata.read(path)


def tried(path: Path, folder: Path) -> Any:
    """Read, said and written again: what any of it gives, or the refusal."""
    try:
        read = tflite_metadata.read(path)
        if read is not None:
            problems(read)
            tflite_metadata.write(path, folder / "again.tflite", replace(read, name="new"))
            assert found(folder / "again.tflite") == replace(read, name="new")
        return read
    except (InvalidFile, InvalidValue) as error:
        assert str(folder) not in error.message
        return error


@pytest.mark.parametrize("part", ["metadata", "zip", "whole"])
def test_flipped_bytes_are_read_or_refused_and_nothing_else(path: Path, tmp_path: Path, part: str) -> None:
    rng, outcomes = np.random.default_rng(0), []
    data = np.frombuffer(path.read_bytes(), np.uint8)
    table = np.frombuffer(metadata_table.packed(files.table(path)), np.uint8)
    start = len(without_files(path)) if part == "zip" else 0
    for _ in range(200):
        flipped = (table if part == "metadata" else data).copy()
        flipped[rng.integers(start, len(flipped), 2)] = rng.integers(0, 256, 2)
        if part == "metadata":
            files.with_table(path, flipped.tobytes())
        else:
            path.write_bytes(flipped.tobytes())
        outcomes.append(isinstance(tried(path, tmp_path), Exception))
    assert 10 < sum(outcomes) < 200
