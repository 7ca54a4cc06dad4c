"""The two that are made here, and the Hub's against a folder that plays the Hub."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from pathlib import Path

import pytest

from lib.errors import InvalidFile, InvalidValue, JobFailed
from lib.jobs import Jobs
from lib.train import datasets, hub_data, pictures
from lib.train.data import DataSet
from lib.train.hub_data import from_hub
from models.tiny_scenes.scenes import OBJECTS
from tests.train.hostile import good, tree, zipped


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    return datasets.make("objects", tmp_path_factory.mktemp("made") / "objects")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    return datasets.make("digits", tmp_path_factory.mktemp("made") / "digits")


def test_objects(objects: DataSet) -> None:
    assert objects.classes == sorted(OBJECTS) and objects.problems == []
    counts = Counter((item.label, item.part) for item in objects.items)
    assert counts == {(c, p): n for c in range(12) for p, n in (("train", 50), ("test", 25))}
    cut = objects.split()
    assert (len(cut.train), len(cut.val), len(cut.test)) == (540, 60, 300)
    assert len({item.sha256 for item in objects.items}) == 900
    assert pictures.load(objects.path(0)).shape == (128, 128, 3)


def test_the_test_set_of_objects_are_combinations_that_training_never_sees(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from models.tiny_scenes import renderer

    drawn, render = [], renderer.render
    monkeypatch.setattr(renderer, "render", lambda scene, rng: (drawn.append(scene), render(scene, rng))[1])
    datasets.make("objects", tmp_path / "objects")
    by_class = [drawn[k : k + 75] for k in range(0, 900, 75)]
    for scenes in by_class:
        assert not any(s.held_out for s in scenes[:50]) and all(s.held_out for s in scenes[50:])
        assert not {(s.colour, s.place) for s in scenes[:50]} & {(s.colour, s.place) for s in scenes[50:]}


def test_digits(digits: DataSet) -> None:
    assert digits.classes == list("0123456789") and len(digits.items) == 1797 and digits.problems == []
    cut = digits.split()
    assert (len(cut.train), len(cut.val), len(cut.test)) == (1293, 145, 359)
    picture = pictures.load(digits.path(0))
    assert picture.shape == (32, 32, 3) and (picture[::4, ::4].repeat(4, 0).repeat(4, 1) == picture).all()


def test_digits_are_the_same_files_everywhere(digits: DataSet) -> None:
    """Names and pixels; a PNG's bytes may differ with zlib."""
    import hashlib

    total = hashlib.sha256()
    for index, item in enumerate(digits.items):
        total.update(item.path.encode() + pictures.load(digits.path(index))[::4, ::4, 0].tobytes())
    assert total.hexdigest()[:16] == DIGITS


def test_made_again_it_is_the_same(objects: DataSet, tmp_path: Path) -> None:
    again = datasets.make("objects", tmp_path / "again")
    assert again.fingerprint == objects.fingerprint
    stamp = (tmp_path / "again" / "data.json").stat().st_mtime_ns
    assert datasets.make("objects", tmp_path / "again").items == again.items
    assert (tmp_path / "again" / "data.json").stat().st_mtime_ns == stamp


def test_two_may_make_it_at_once(tmp_path: Path) -> None:
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.append(datasets.make("digits", tmp_path / "d").fingerprint)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 3 and len(set(made)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_half_made_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def breaks(folder: Path, progress) -> None:
        tree(good())(folder)
        raise MemoryError

    monkeypatch.setitem(datasets.MAKERS, "digits", breaks)
    with pytest.raises(MemoryError):
        datasets.make("digits", tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="objects or digits"):
        datasets.make("imagenet", tmp_path / "x")


def test_made_and_described_in_a_child_process(tmp_path: Path) -> None:
    jobs = Jobs(workers=1, waiting=2)
    try:
        home = str(tmp_path / "digits")
        made = jobs.submit("lib.train.data_tasks:make", {"name": "digits", "home": home}).result()
        assert made["name"] == "digits" and made["count"] == 1797 and made["warnings"] == []
        told = jobs.submit("lib.train.data_tasks:describe", {"name": "digits", "home": home}).result()
        assert told == made
    finally:
        jobs.close()


def hub(files: dict[str, bytes]):
    """A fetch that gives these files."""
    return lambda repository, revision, folder: tree(list(files.items()))(folder)


def test_image_folders_of_the_hub(tmp_path: Path) -> None:
    asked = []

    def fetch(repository: str, revision: str | None, folder: Path) -> None:
        asked.append((repository, revision))
        tree(good("data/train/"))(folder)
        tree(good("data/test/"))(folder)

    data = from_hub("hub:owner/pets@v1", tmp_path / "home", allowed=True, fetch=fetch)
    assert asked == [("owner/pets", "v1")] and len(data.items) == 12
    assert DataSet.load(tmp_path / "home").items == data.items
    assert {p.name for p in (tmp_path / "home").iterdir()} == {"pictures", "data.json"}


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({"pets.zip": zipped(good("pets/"))}, 6),
        ({"data/train.zip": zipped(good("train/")), "data/test.zip": zipped(good())}, 12),
    ],
)
def test_zips_of_the_hub(files: dict[str, bytes], count: int, tmp_path: Path) -> None:
    data = from_hub("hub:owner/pets", tmp_path / "home", allowed=True, fetch=hub(files))
    assert len(data.items) == count and data.classes == ["cats", "dogs"]
    assert {item.part for item in data.items} == ({""} if count == 6 else {"train", "test"})


def test_the_hub_is_distrusted(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="not enabled on this server"):
        from_hub("hub:owner/pets", tmp_path / "a", allowed=False, fetch=hub({}))
    for name in ("owner/pets", "hub:pets", "hub:../x", "hub:a/..", "hub:a/b@../x", "hub:a/b c"):
        with pytest.raises(InvalidValue, match="hub:owner/name"):
            from_hub(name, tmp_path / "a", allowed=True, fetch=hub({}))
    with pytest.raises(InvalidFile, match="not a zip archive"):
        from_hub("hub:a/b", tmp_path / "b", allowed=True, fetch=hub({"x.zip": b"no"}))
    with pytest.raises(InvalidFile, match="No usable picture"):
        from_hub("hub:a/b", tmp_path / "c", allowed=True, fetch=lambda *a: shutil.os.makedirs(a[2]))
    assert all(list(home.iterdir()) == [] for home in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("files", "error", "words"),
    [
        ({"data/0.parquet": 9}, InvalidFile, "neither pictures nor a zip"),
        ({"a.zip": 5 << 30}, InvalidFile, r"at most 50,000 \(4,096 MB\)"),
        (None, JobFailed, "could not be found on the Hub"),
    ],
)
def test_what_the_hub_says_is_judged_before_fetching(files, error, words, monkeypatch, tmp_path: Path) -> None:
    import huggingface_hub

    class Api:
        def dataset_info(self, *args, **kwargs):
            if files is None:
                raise OSError("no network")
            siblings = [type("F", (), {"rfilename": name, "size": size}) for name, size in files.items()]
            return type("Info", (), {"siblings": siblings, "sha": "0" * 40})

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("fetched"))
    with pytest.raises(error, match=words):
        hub_data._snapshot("owner/pets", None, tmp_path)


DIGITS = "2298eaf5f74d8952"
