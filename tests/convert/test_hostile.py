"""Every file of ``hostile``: a clear refusal, nothing executed, nothing left behind, the jobs alive."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lib.errors import InvalidFile
from lib.jobs import Jobs, Limits
from tests.convert.hostile import CANARY, TABLE, Touch
from tests.convert.hostile import valid as sound

LIMITS = Limits(memory_mb=1500, cpu_seconds=60, wall_seconds=60, file_mb=512)
MACHINE = re.compile(r"(?<![\w.'\"])/(tmp|work|root|home|usr)\b|Traceback")
TASKS = "tests.convert.hostile_tasks"


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    one = Jobs(workers=1, waiting=1, preload=(TASKS,))
    one.start()
    yield one
    one.close()


@pytest.fixture(autouse=True)
def nothing_is_executed() -> Iterator[None]:
    CANARY.unlink(missing_ok=True)
    yield
    executed = CANARY.exists()
    CANARY.unlink(missing_ok=True)
    assert not executed


def written(files: dict[str, bytes], folder: Path) -> dict[str, str]:
    folder.mkdir()
    out = {}
    for k, (name, data) in enumerate(files.items()):
        (folder / str(k)).write_bytes(data)
        out[name] = str(folder / str(k))
    return out


@pytest.mark.parametrize("name", TABLE)
def test_a_hostile_file(name: str, jobs: Jobs, tmp_path: Path) -> None:
    row = TABLE[name]
    out = tmp_path / "out"
    out.mkdir()
    given = row.files()
    files = written(given, tmp_path / "up")
    with pytest.raises(InvalidFile) as caught:
        found = jobs.submit(f"{TASKS}:take", {"files": files, "out": str(out), "pt2": row.pt2}, limits=LIMITS).result()
        pytest.fail(f"taken as {found}")
    message = caught.value.message
    assert row.words in message, message
    assert 15 < len(message) < 1000 and not MACHINE.search(message) and str(tmp_path) not in message, message
    assert not list(out.iterdir())
    assert {p.name: p.read_bytes() for p in (tmp_path / "up").iterdir()} == {str(k): d for k, d in enumerate(given.values())}
    assert jobs.status() == {"running": 0, "waiting": 0}


def test_the_canary_can_die() -> None:
    pickle.loads(pickle.dumps(Touch()))
    assert CANARY.exists()
    CANARY.unlink()


@pytest.mark.parametrize("name", sound.VALID)
def test_a_sound_file_is_taken(name: str, jobs: Jobs, tmp_path: Path) -> None:
    make, format, members = sound.VALID[name]
    out = tmp_path / "out"
    out.mkdir()
    files = written(make(), tmp_path / "up")
    found = jobs.submit(f"{TASKS}:take", {"files": files, "out": str(out), "pt2": True}, limits=LIMITS).result()
    assert found["format"] == format
    assert {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} == members


def mutants(data: bytes, rng: np.random.Generator, count: int) -> Iterator[bytes]:
    for k in range(count):
        out = bytearray(data)
        at = int(rng.integers(len(out)))
        match k % 5:
            case 0:
                out[at] ^= 1 << int(rng.integers(8))
            case 1:
                del out[at:]
            case 2:
                out[at : at + 4] = rng.bytes(4)
            case 3:
                out[at : at + 4] = b"\xff\xff\xff\xff"
            case 4:
                del out[at : at + int(rng.integers(1, 9))]
        yield bytes(out)


def hidden(kind: str, data: bytes) -> bytes:
    """Damage behind a sound checksum: what is in the zip is damaged, the zip is not."""
    return {"weights": lambda: sound.keras(weights=data), "graph": lambda: sound.saved_model(data)}[kind]()


@pytest.mark.parametrize("count", [15, pytest.param(40, marks=pytest.mark.slow)])
def test_damaged_files_are_answered(count: int, jobs: Jobs, tmp_path: Path) -> None:
    """``count`` of each kind: taken or refused, never a crash."""
    rng = np.random.default_rng(4)
    files: dict[str, bytes] = {}
    for kind in (
        "onnx",
        "safetensors",
        "checkpoint",
        "old checkpoint",
        "pt2",
        "keras",
        "tflite",
        "saved-model",
        "diffusers",
        "config",
    ):
        whole = next(iter(sound.VALID[kind][0]().values()))
        files |= {f"{kind} {k}": m for k, m in enumerate(mutants(whole, rng, count))}
    for kind, whole in (("weights", sound.hdf5()), ("graph", sound.saved_model_graph())):
        files |= {f"{kind} {k}": hidden(kind, m) for k, m in enumerate(mutants(whole, rng, count))}
    uploads = {}
    for k, (name, data) in enumerate(files.items()):
        (tmp_path / str(k)).write_bytes(data)
        uploads[name] = str(tmp_path / str(k))
    answers = jobs.submit(f"{TASKS}:take_many", {"uploads": uploads}, limits=LIMITS).result()
    assert answers.keys() == uploads.keys()
    assert not {name: text for name, text in answers.items() if text.startswith("broken")}
    assert not [text for text in answers.values() if MACHINE.search(text) or str(tmp_path) in text]
    kinds = Counter(text.split(":")[0] for text in answers.values())
    assert kinds["taken"] > count / 2 and kinds["refused"] > 5 * count, kinds


@pytest.mark.parametrize("kind", ["symbolic", "hard", "pipe"])
def test_an_upload_that_is_a_link(kind: str, tmp_path: Path) -> None:
    import os

    from lib.convert.intake.admit import admit_upload

    (tmp_path / "file").write_bytes(sound.onnx())
    link = tmp_path / "link"
    {"symbolic": link.symlink_to, "hard": link.hardlink_to, "pipe": lambda _: os.mkfifo(link)}[kind](tmp_path / "file")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(InvalidFile, match="is a link or not a regular file"):
        admit_upload({"net.onnx": link}, out)
    with pytest.raises(InvalidFile, match="is a link or not a regular file"):
        admit_upload({"net.onnx": tmp_path / "link" if kind == "hard" else link, "w.bin": link}, out)
