"""A served run with real child processes: ids, truths, drift, other visitors' ids, a restart, and what is left of it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lib.errors import InvalidFile, InvalidValue, JobFailed, NotFound
from lib.settings import Settings
from lib.train.monitoring import service as service_module
from lib.train.monitoring.drift import WINDOW
from lib.train.monitoring.reference import ABOUT, ARRAYS, FOLDER
from lib.train.recipe import Recipe
from lib.train.runs import RECORD, Run
from lib.train.schema import to_json
from lib.train.trainer import Trainer
from tests.train.conftest import shapes
from tests.train.test_trainer import wait


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    trainer = Trainer(Settings(data_folder=tmp_path_factory.mktemp("data"), trackers=()))
    yield trainer
    trainer.close()


@pytest.fixture(scope="module")
def run(trainer: Trainer, tmp_path_factory: pytest.TempPathFactory) -> Run:
    home, owner = tmp_path_factory.mktemp("zip"), trainer.visitors.owner("visitor of the watch")
    folder = shapes(home, 30)
    archive = Path(shutil.make_archive(str(home / "shapes"), "zip", folder.parent, "pictures"))
    id, job = trainer.data.upload(owner, archive, "shapes.zip")
    trainer.data.remember(owner, id, job.result())
    one = trainer.train(owner, id, Recipe(image_size=48, epochs=2, batch_size=8), "watched")
    assert one.done.wait(500) and one.error is None
    return one.run


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """New pictures of the same source, in random order."""
    found = sorted(shapes(tmp_path_factory.mktemp("new"), 75, seed=1).glob("*/*.png"))
    return [found[k] for k in np.random.default_rng(0).permutation(len(found))]


def monitor(trainer: Trainer, run: Run) -> Any:
    """As JSON: these keys are what visitors rely on."""
    return to_json(trainer.monitor(run))


def serve(trainer: Trainer, run: Run, pictures: list[Path]) -> list[Any]:
    return [row for at in range(0, len(pictures), 32) for row in trainer.monitoring.classify(run, pictures[at : at + 32])]


def serve_and_look(trainer: Trainer, run: Run, pictures: list[Path]) -> dict[str, Any]:
    """``/monitor``'s drift once all of them were looked at: of a stream without a pause only some would be."""
    for at in range(0, len(pictures), 32):
        before, some = monitor(trainer, run)["drift"]["seen"], pictures[at : at + 32]
        trainer.monitoring.classify(run, some)
        wait(lambda before=before, some=some: monitor(trainer, run)["drift"]["seen"] == before + len(some))
    return monitor(trainer, run)["drift"]


@pytest.mark.slow
def test_before_the_first_request(trainer: Trainer, run: Run) -> None:
    found = monitor(trainer, run)
    assert found["requests"] == 0 and found["run"] == run.id and "With the next request" in found["drift"]["why"]
    assert not (run.folder / FOLDER).exists()


def test_a_try_is_not_watched(trainer: Trainer, run: Run, new: list[Path]) -> None:
    first, again = (trainer.classify(run, new[:1])[0] for _ in range(2))
    assert to_json(first).keys() == {"label", "score", "milliseconds", "scores", "loading_ms"} and first.loading_ms > 0
    assert "loading_ms" not in to_json(again)
    assert monitor(trainer, run)["requests"] == 0


def test_truths_of_answers(trainer: Trainer, run: Run, new: list[Path], tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    rows = serve(trainer, run, [*new[:30], tmp_path / "broken.png"])
    assert rows[-1].error and to_json(rows[-1]).keys() == {"error"}
    ids = [row.id for row in rows[:-1]]
    assert len(set(ids)) == 30 and all(len(id) == 48 and run.id not in id for id in ids)
    told = [trainer.monitoring.set_label(id, path.parent.name) for id, path in zip(ids, new, strict=False)]
    right = sum(row.label == path.parent.name for row, path in zip(rows[:-1], new, strict=False))
    assert sum(one.right for one in told) == right and told[0].truth == new[0].parent.name
    found = monitor(trainer, run)
    assert found["requests"] == 30 and found["unreadable"] == 1
    assert all("loading_ms" not in to_json(row) for row in rows)  # in memory since the try
    assert found["accuracy"]["count"] == 30 and found["accuracy"]["value"] == right / 30
    assert found["latency"]["p95"] >= found["latency"]["p50"] > 0


def test_no_truth_for_what_is_no_answer_and_no_class(trainer: Trainer, run: Run, new: list[Path]) -> None:
    (row,) = serve(trainer, run, new[:1])
    other = row.id[:16] + "0" * 32
    for id in (other, "0" * 48, "x", "", run.id, "../" * 16, row.id.upper(), None, 5):
        with pytest.raises(NotFound, match="no answer with this id"):
            trainer.monitoring.set_label(id, "disc")  # type: ignore[arg-type]
    for label in ("fish", "", "Disc", "x" * (1 << 20), None, 3, ["disc"], {"a": 1}):
        with pytest.raises(InvalidValue, match="a class of this run: cross, disc, stripes") as refused:
            trainer.monitoring.set_label(row.id, label)  # type: ignore[arg-type]
        assert len(refused.value.message) < 300
    assert monitor(trainer, run)["accuracy"]["count"] == 30


@pytest.mark.slow
def test_unchanged_pictures_and_then_inverted_ones(trainer: Trainer, run: Run, new: list[Path], tmp_path: Path) -> None:
    if not (run.folder / FOLDER).exists():  # no test has sent a request: this module's slow tests by themselves
        serve(trainer, run, new[:1])
    wait(lambda: (run.folder / FOLDER / ABOUT).exists())
    assert monitor(trainer, run)["drift"]["seen"] == 0  # what came before there was something to compare with
    (line,) = serve_and_look(trainer, run, new[:WINDOW])["windows"]
    assert line["inputs"] >= 0.01
    inverted = []
    for k, path in enumerate(new[:WINDOW]):
        Image.fromarray(255 - np.asarray(Image.open(path).convert("RGB"))).save(tmp_path / f"{k}.png")
        inverted.append(tmp_path / f"{k}.png")
    changed = serve_and_look(trainer, run, inverted)
    assert changed["inputs"]["flagged"] and changed["inputs"]["p"] < 0.01 and changed["windows"][-1]["inputs"] < 0.01
    assert trainer.monitoring.drifting()["inputs"] == 1


def test_nothing_but_numbers_is_kept(trainer: Trainer, run: Run, new: list[Path]) -> None:
    """No picture, no name: every file of the watch is named here, and small."""
    folder = run.folder / FOLDER
    names = {path.name for path in folder.iterdir()}
    assert names <= {ABOUT, ARRAYS, "window.npz", "drift.json", "window.lock"} | {
        f"ledger.sqlite{s}" for s in ("", "-wal", "-shm")
    }
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2 << 20
    content = b"".join(path.read_bytes() for path in folder.iterdir())
    assert not any(word in content for word in (b"PNG", b"JFIF", new[0].name.encode(), str(new[0].parent).encode()))
    with sqlite3.connect(folder / "ledger.sqlite") as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(answers)")]
    assert columns == ["id", "at", "label", "score", "milliseconds", "runtime", "truth", "told"]


def test_a_restart_keeps_all_of_it(trainer: Trainer, run: Run, new: list[Path]) -> None:
    before = monitor(trainer, run)
    (row,) = serve(trainer, run, new[:1])
    again = Trainer(trainer.settings)
    try:
        found = monitor(again, run)
        assert found["requests"] == before["requests"] + 1 and found["drift"]["windows"] == before["drift"]["windows"]
        assert again.monitoring.set_label(row.id, "disc").truth == "disc"
    finally:
        again.close()


def test_statistics_that_cannot_be_kept_cost_no_answer(trainer: Trainer, run: Run, new: list[Path]) -> None:
    place, away = run.folder / FOLDER, run.folder / "away"
    place.rename(away)
    try:
        place.write_text("a file where the folder should be")
        (row,) = trainer.monitoring.classify(run, new[:1])
        assert row.label in ("cross", "disc", "stripes") and row.id is None
    finally:
        place.unlink()
        away.rename(place)


@pytest.mark.parametrize(
    ("pictures", "runtime", "error"),
    [(0, "pytorch", InvalidFile), (33, "pytorch", InvalidValue), (1, "tensorrt", InvalidValue), (1, "litert", NotFound)],
)
def test_requests_that_are_refused(
    trainer: Trainer, run: Run, new: list[Path], pictures: int, runtime: str, error: type[Exception]
) -> None:
    before = monitor(trainer, run)["requests"]
    with pytest.raises(error):
        trainer.monitoring.classify(run, new[:pictures], runtime)
    assert monitor(trainer, run)["requests"] == before


def test_a_run_without_weights(trainer: Trainer, new: list[Path]) -> None:
    bare = trainer.runs(trainer.visitors.owner("bare")).new("bare", {"status": "stopped", "classes": ["a", "b"]})
    with pytest.raises(NotFound, match="no weights"):
        trainer.monitoring.classify(bare, new[:1])
    assert monitor(trainer, bare)["requests"] == 0 and not (bare.folder / FOLDER).exists()


@pytest.mark.slow
def test_without_its_data_drift_is_not_told_and_why(trainer: Trainer, run: Run, new: list[Path]) -> None:
    copy = trainer.runs(trainer.visitors.owner("copy")).new("copy", {"status": "done"})
    shutil.copytree(run.folder, copy.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(FOLDER))
    (row,) = trainer.monitoring.classify(copy, new[:1])
    wait(lambda: not trainer.monitoring._making)  # one reference at a time
    trainer.monitoring.classify(copy, new[1:2])
    wait(lambda: "no data set" in monitor(trainer, copy)["drift"]["why"])
    assert trainer.monitoring.set_label(row.id, "disc") and monitor(trainer, copy)["accuracy"]["count"] == 1


@pytest.mark.slow
def test_it_is_deleted_with_the_run(trainer: Trainer, run: Run, new: list[Path]) -> None:
    copy = trainer.runs(run_owner(run, trainer)).new("deleted", {"status": "done"})
    shutil.copytree(run.folder, copy.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(FOLDER))
    rows = serve(trainer, copy, new[:40])  # its reference is being made, its pictures wait to be looked at
    trainer.delete(copy)
    assert not copy.folder.exists()
    with pytest.raises(NotFound):
        trainer.monitoring.set_label(rows[0].id, "disc")
    with pytest.raises(NotFound):
        monitor(trainer, copy)
    wait(lambda: not trainer.monitoring._making)
    time.sleep(1)
    assert not copy.folder.exists() and not list(copy.folder.parent.glob(".gone-*"))


def run_owner(run: Run, trainer: Trainer) -> str:
    return trainer._owner_of(run)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["planted", "older", "another", "gone"])
def test_a_reference_that_is_damaged_or_of_older_code_is_made_anew(
    trainer: Trainer, run: Run, new: list[Path], damage: str
) -> None:
    """The child process that answers goes on without it."""
    place, about = run.folder / FOLDER / ARRAYS, run.folder / FOLDER / ABOUT
    trainer.monitoring.classify(run, new[:1])
    wait(lambda: trainer.monitoring._reference(run))  # an earlier test leaves one that is none
    before = json.loads(about.read_text())
    if damage == "planted":
        place.write_bytes(b"PK\x03\x04 nonsense" * 50)
        with suppress(FileNotFoundError):  # it was noticed already
            os.utime(about)  # read anew
    elif damage == "older":
        about.write_text(json.dumps({name: value for name, value in before.items() if name != "version"}))
    elif damage == "another":
        about.write_text(json.dumps(before | {"id": "0" * 16}))
    else:
        place.unlink()

    def made() -> bool:
        assert trainer.monitoring.classify(run, new[:1])[0].id
        found = json.loads(about.read_text()) if about.is_file() else before
        return found["id"] not in (before["id"], "0" * 16)

    wait(made)
    serve(trainer, run, new[:60])
    wait(lambda: monitor(trainer, run)["drift"]["inputs"]["p"] is not None)
    assert (run.folder / RECORD).is_file()


def test_answers_are_found_by_folders_not_by_memory(trainer: Trainer, run: Run, new: list[Path]) -> None:
    (row,) = serve(trainer, run, new[:1])
    trainer.monitoring._handles.clear()
    assert trainer.monitoring.set_label(row.id, "disc").id == row.id
    assert service_module.HANDLES >= len(trainer.monitoring._handles) >= 1
    with pytest.raises(JobFailed):
        trainer.monitoring._prediction_log(Run(run.folder / "nowhere")).add([])
