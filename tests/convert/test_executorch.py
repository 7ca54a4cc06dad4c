"""ExecuTorch programs without their runtime: recognised, checked and described; damaged ones are refused in words."""

from __future__ import annotations

import mmap
import random
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.convert.edges import edges
from lib.convert.formats import find, load
from lib.convert.formats.executorch.check import Program, check_program, read_program
from lib.convert.intake.admit import admit_upload
from lib.convert.service.routes import routes
from lib.errors import InvalidFile, JobFailed

# a convolution, a norm and a dense layer, for XNNPACK; the batch is dynamic up to 8
SMALL = Path(__file__).parent / "cases" / "20-executorch-batch-of-8.pte"


def written(folder: Path, data: bytes) -> Path:
    path = folder / "a.pte"
    path.write_bytes(data)
    return path


def test_an_upload_is_described_and_never_run(tmp_path: Path) -> None:
    tmp_path.joinpath("out").mkdir()
    format, messages = admit_upload({"mine.bin": SMALL}, tmp_path / "out")
    assert format == "executorch"
    assert messages == ["forward: 2 operators, delegates: XnnpackBackend, XnnpackBackend."]
    signature = load(format, tmp_path / "out").signature()
    assert [(v.name, v.dtype, v.shape) for v in signature.inputs] == [("image", "float32", ("batch", 3, 32, 32))]
    assert [(v.name, v.dtype, v.shape) for v in signature.outputs] == [("logits", "float32", ("batch", 5))]
    assert find(format).described_in_app and not routes(format)  # what somebody uploads is never executed


def test_names_of_another_program_are_not_believed(tmp_path: Path) -> None:
    data = SMALL.read_bytes()
    for old, new in ((b'"shape": ["batch", 5]', b'"shape": ["batch",55'), (b"workbench_signature", b"Workbench_signature")):
        assert data.count(old) == 1
        written(tmp_path, data.replace(old, new.ljust(len(old)))).rename(tmp_path / "model.pte")
        signature = load("executorch", tmp_path).signature()
        assert [v.name for v in signature.inputs] == ["input_0"]
        assert signature.inputs[0].shape[0] == "input_0[0] (up to 8)" and signature.outputs[0].dtype == "float32"


def test_what_is_read() -> None:
    forward, told = sorted(read_program(SMALL), key=lambda m: m.name)
    assert forward.inputs[0].sizes == (8, 3, 32, 32) and forward.inputs[0].bounded
    assert forward.memory > 8 * 3 * 32 * 32 * 4
    assert told.name == "workbench_signature" and told.constant and told.constant.startswith("{")


@pytest.mark.parametrize("size", [0, 4, 8, 31, 32, 100, 1000, 3000, 6000])
def test_a_file_that_was_cut_off_is_refused(size: int, tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match=r"cut off|bytes"):
        check_program(written(tmp_path, SMALL.read_bytes()[:size]))


@pytest.mark.parametrize(
    ("at", "form", "value"),
    [
        (16, "<Q", 1 << 40),  # bytes of the program
        (24, "<Q", 1 << 40),  # where segments begin
        (24, "<Q", 8),  # inside of the program
        (12, "<I", 3),  # the header's length
        (0, "<I", 1 << 30),  # the root
    ],
)
def test_a_header_that_lies_is_refused(at: int, form: str, value: int, tmp_path: Path) -> None:
    data = bytearray(SMALL.read_bytes())
    struct.pack_into(form, data, at, value)
    with pytest.raises(InvalidFile, match="damaged or cut off"):
        check_program(written(tmp_path, bytes(data)))


def test_whatever_byte_is_changed_nothing_but_a_refusal_comes_of_it(tmp_path: Path) -> None:
    """2,000 files: read, or refused in words; and both happen."""
    sound, random_ = SMALL.read_bytes(), random.Random(0)
    program = struct.unpack("<Q", sound[16:24])[0]
    read = refused = 0
    for _ in range(2000):
        data = bytearray(sound)
        for _ in range(random_.choice((1, 1, 4))):
            data[random_.randrange(program)] = random_.choice((0, 1, 127, 128, 255, random_.randrange(256)))
        try:
            read_program(written(tmp_path, bytes(data)))
            read += 1
        except InvalidFile as error:
            refused += 1
            assert "Traceback" not in error.message and len(error.message) < 400
    assert read > 100 and refused > 100


def test_the_runtime_is_needed_to_run_and_only_then(tmp_path: Path) -> None:
    import numpy as np

    written(tmp_path, SMALL.read_bytes()).rename(tmp_path / "model.pte")
    runner = load("executorch", tmp_path)
    with pytest.raises(JobFailed, match="image"):
        runner.run({"other": np.zeros(1, np.float32)})


def test_it_can_be_reached_from_everywhere() -> None:
    edge = edges()["pt2", "executorch"]
    assert edge.environment == "executorch" and find("executorch").environment == "executorch"
    for source in ("architecture", "onnx", "pt2", "keras"):
        assert "executorch" in routes(source)


def test_a_format_is_one_folder_and_one_line() -> None:
    """What the last format that was added touched beside files of its own: nobody else may know its name."""
    root = Path(__file__).parents[2]
    own = ("formats/executorch/", "edges/pt2_to_executorch", "tools/executorch_export.py", "environments/executorch.txt")
    touched = [
        (str(path.relative_to(root)), line.strip())
        for folder in ("lib", "spaces", "web")
        for path in sorted((root / folder).rglob("*"))
        if path.suffix in (".py", ".txt", ".js", ".html", ".css")
        and not str(path.relative_to(root / folder)).startswith(tuple(f"convert/{name}" for name in own))
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"executorch|\.pte\b", line, re.IGNORECASE)
    ]
    assert touched == [("lib/convert/formats/__init__.py", '"executorch",')]


def inside(path: tuple[tuple[int, int | None], ...], slot: int) -> int:
    """Where a field of the program stands: ``path`` has slots of vectors and places in them (``ONE``: of one table)."""
    data = SMALL.read_bytes()
    with SMALL.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        program = Program(mapped, len(data))
        table = program._root
        for vector, place in path:
            table = program._list(table, vector)[place] if place != ONE else program._table_of(table, vector)[0]
        return program._field(table, slot)


def first(at: int) -> int:
    """The first entry of the vector whose offset stands at ``at``."""
    return at + struct.unpack_from("<I", SMALL.read_bytes(), at)[0] + 4


PLAN, ONE = (1, 0), None


@pytest.mark.parametrize(
    ("words", "at", "form", "value"),
    [
        ("a segment spans bytes", lambda: inside(((4, 1),), 1), "<Q", 1 << 40),
        ("a segment spans bytes", lambda: inside(((4, 1),), 0), "<Q", (1 << 64) - 64),
        ("in a missing segment", lambda: inside(((7, 0),), 1), "<I", 99),
        ("a missing value", lambda: first(inside((PLAN,), 3)), "<i", 9999),
        ("a missing value", lambda: first(inside((PLAN,), 4)), "<i", -1),
        ("delegate's data are missing", lambda: inside((PLAN, (7, 0), (1, ONE)), 1), "<I", 99),
        ("missing operator or delegate", lambda: inside((PLAN, (5, 0), (2, -1), (1, ONE)), 0), "<i", 99),
        ("a missing value", lambda: first(inside((PLAN, (5, 0), (2, 0), (1, ONE)), 1)), "<i", 1 << 30),
        ("bytes of memory; at most", lambda: first(inside((PLAN,), 8)) + 8, "<Q", 1 << 60),
    ],
)
def test_what_the_runtime_would_follow_without_looking_is_refused(
    words: str, at: Callable[[], int], form: str, value: int, tmp_path: Path
) -> None:
    data, place = bytearray(SMALL.read_bytes()), at()
    assert place > 0
    struct.pack_into(form, data, place, value)
    with pytest.raises(InvalidFile, match=words):
        check_program(written(tmp_path, bytes(data)))
