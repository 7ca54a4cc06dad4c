"""The last pictures' features and what the tests say of them: whole windows, restarts, damage, many processes."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from lib.train.monitoring import window
from lib.train.monitoring.drift import FIRST_WINDOW, LEVEL, WINDOW, Basis
from lib.train.monitoring.reference import Reference


def features(seed: int, count: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, (count, 5)).astype(np.float32), rng.normal(shift, 1, (count, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def reference() -> Reference:
    inputs, model = features(0, 300)
    return Reference("an id", Basis.random(9, 5, np.random.default_rng(0)), Basis.principal(model, 3), inputs, model)


def said(folder: Path) -> dict:
    return json.loads((folder / window.DRIFT).read_text())


def test_looks_come_with_pictures_and_lines_with_whole_windows(tmp_path: Path, reference: Reference) -> None:
    window.add(tmp_path, reference, *features(1, FIRST_WINDOW - 1))
    assert said(tmp_path)["now"] is None and said(tmp_path)["seen"] == FIRST_WINDOW - 1
    window.add(tmp_path, reference, *features(2, 1))
    assert said(tmp_path)["now"]["n"] == FIRST_WINDOW and said(tmp_path)["now"]["inputs"] > LEVEL
    window.add(tmp_path, reference, *features(3, WINDOW))
    (line,) = said(tmp_path)["windows"]
    assert line["n"] == WINDOW and said(tmp_path)["now"]["at"] >= line["at"]
    window.add(tmp_path, reference, *features(4, 2 * WINDOW, shift=3.0))
    assert [one["inputs"] < LEVEL for one in said(tmp_path)["windows"]] == [False, True, True]
    assert [one["model"] < LEVEL for one in said(tmp_path)["windows"]] == [False, True, True]


def test_no_more_is_kept_than_the_last_window_and_the_last_lines(
    tmp_path: Path, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "LINES", 2)
    window.add(tmp_path, reference, *features(1, 4 * WINDOW + 7))
    with np.load(tmp_path / window.ARRAYS) as file:
        assert {name: file[name].shape for name in file.files} == {"inputs": (WINDOW, 5), "model": (WINDOW, 3)}
        assert {file[name].dtype for name in file.files} == {np.dtype(np.float16)}
    assert len(said(tmp_path)["windows"]) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted((window.ARRAYS, window.DRIFT, window.LOCK))


def test_another_reference_begins_anew(tmp_path: Path, reference: Reference) -> None:
    window.add(tmp_path, reference, *features(1, WINDOW))
    other = Reference("another", reference.inputs_basis, reference.model_basis, reference.inputs, reference.model)
    window.add(tmp_path, other, *features(2, 3))
    assert said(tmp_path) == {"reference": "another", "seen": 3, "now": None, "windows": []}


@pytest.mark.parametrize(
    "content", [b"", b"no zip at all", b"PK\x03\x04 nonsense" * 50, b"[" * 10_000, b'{"reference": "an id", "seen": "x"}']
)
@pytest.mark.parametrize("name", [window.ARRAYS, window.DRIFT])
def test_damage_begins_anew(tmp_path: Path, reference: Reference, name: str, content: bytes) -> None:
    window.add(tmp_path, reference, *features(1, 60))
    (tmp_path / name).write_bytes(content)
    window.add(tmp_path, reference, *features(2, 3))
    assert said(tmp_path)["seen"] == 3


def test_arrays_of_another_shape_begin_anew(tmp_path: Path, reference: Reference) -> None:
    window.add(tmp_path, reference, *features(1, 60))
    np.savez(tmp_path / window.ARRAYS, inputs=np.zeros((9, 99)), model=np.zeros((9, 3)))
    window.add(tmp_path, reference, *features(2, 3))
    assert said(tmp_path)["seen"] == 3


def test_a_pickle_is_not_opened(tmp_path: Path, reference: Reference) -> None:
    class Bomb:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return os.system, (f"touch {tmp_path}/executed",)

    np.savez(tmp_path / "reference.npz", id=np.array([Bomb()], dtype=object))
    assert Reference.load(tmp_path) is None and not (tmp_path / "executed").exists()


def test_a_reference_is_read_as_it_was_saved(tmp_path: Path, reference: Reference) -> None:
    reference.save(tmp_path / "watch")
    found = Reference.load(tmp_path / "watch")
    assert found is not None and found.id == "an id"
    assert (found.inputs == reference.inputs).all() and (found.model_basis.rows == reference.model_basis.rows).all()
    assert Reference.load(tmp_path) is None
    with pytest.raises(OSError):
        reference.save(tmp_path / "gone" / "watch")


@pytest.mark.parametrize("left", [0, 30, 500, 2000])
def test_a_reference_that_is_cut_is_none(tmp_path: Path, reference: Reference, left: int) -> None:
    reference.save(tmp_path)
    content = (tmp_path / "reference.npz").read_bytes()
    (tmp_path / "reference.npz").write_bytes(content[:left])
    assert Reference.load(tmp_path) is None


def test_a_reference_whose_parts_do_not_fit_is_none(tmp_path: Path, reference: Reference) -> None:
    for inputs in (reference.inputs[:, 1:], reference.inputs[:0], reference.inputs * np.nan):
        Reference("x", reference.inputs_basis, reference.model_basis, inputs, reference.model).save(tmp_path)
        assert Reference.load(tmp_path) is None


def test_threads_lose_nothing(tmp_path: Path, reference: Reference) -> None:
    threads = [threading.Thread(target=window.add, args=(tmp_path, reference, *features(k, 20))) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said(tmp_path)["seen"] == 160


def test_a_run_that_is_gone_gets_no_folder_again(tmp_path: Path, reference: Reference) -> None:
    window.add(tmp_path / "gone", reference, *features(1, 3))
    assert not (tmp_path / "gone").exists()
