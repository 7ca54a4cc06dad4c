"""Scan, split, save, load: the same everywhere, nothing leaks between the parts, and the pictures stay untouched."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from lib.errors import InvalidFile, InvalidValue
from lib.train import layout, pictures
from lib.train.data import DataSet, Item
from lib.train.data_summary import Duplicates, summarize
from lib.train.pixel_cache import pixels
from lib.train.split import split
from tests.train.hostile import Members, good, picture, tree

ROOT = Path(__file__).parent.parent.parent


def made(tmp_path: Path, members: Members, name: str = "pets") -> Path:
    (tmp_path / name).mkdir()
    tree(members)(tmp_path / name)
    return tmp_path / name


def many(classes: int = 3, each: int = 20) -> list[Item]:
    hashes = [hashlib.sha256(f"{c}-{k}".encode()).hexdigest() for c in range(classes) for k in range(each)]
    return [Item(f"{n // each}/{n}.jpg", n // each, "", sha) for n, sha in enumerate(hashes)]


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def test_the_split_is_this_one_on_every_machine() -> None:
    items = many()
    digests = [hashlib.sha256(repr(split(items, 0.1, seed)).encode()).hexdigest()[:16] for seed in (0, 1, 2)]
    assert split(items, 0.1, 0).val == SPLIT_0
    assert digests == DIGESTS


def test_another_python_process_splits_the_same() -> None:
    code = "from tests.train.test_data import *; print(split(many(), 0.1, 0).val)"
    command = [sys.executable, "-R", "-c", code]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() == str(SPLIT_0)


def test_the_split_is_by_class_and_takes_the_share() -> None:
    items = many(4, 30)
    for share, number in ((0.1, 3), (0.5, 15), (0.001, 1), (0.999, 29)):
        cut = split(items, share, 7)
        assert [sum(items[i].label == label for i in cut.val) for label in range(4)] == [number] * 4
        assert sorted(cut.train + cut.val) == list(range(120)) and cut.test == ()
        assert list(cut.train) == sorted(cut.train)
    assert split(items, 0.1, 1) != split(items, 0.1, 2)
    for share in (0, 1, -1, float("nan")):
        with pytest.raises(InvalidValue, match="validation"):
            split(items, share)


def test_names_do_not_matter_for_the_split() -> None:
    items = many()
    renamed = [Item(f"other/{i.path}", i.label, i.part, i.sha256) for i in items]
    assert split(items) == split(renamed)


def test_copies_stay_together() -> None:
    """One picture of three stands there five times; another is in two classes."""
    items = []
    for item in many(2, 30):
        items += [item] * (5 if int(item.path.split("/")[1][:-4]) % 3 == 0 else 1)
    twin = Item("1/twin.jpg", 1, "", items[0].sha256)
    items.append(twin)
    for seed in range(20):
        cut = split(items, 0.2, seed)
        assert not {items[i].sha256 for i in cut.train} & {items[i].sha256 for i in cut.val}
        assert twin.sha256 not in {items[i].sha256 for i in cut.val}
        assert {items[i].label for i in cut.train} == {items[i].label for i in cut.val} == {0, 1}


def test_a_class_of_one_picture_many_times_stays_in_train() -> None:
    items = [*many(2, 10), *[Item(f"2/{k}.jpg", 2, "", "ab" * 32) for k in range(10)]]
    assert all(items[i].label < 2 for i in split(items).val)


def test_given_parts_are_kept(tmp_path: Path) -> None:
    members = [
        (f"{p}/{c}/{k}.png", picture(100 * n + 10 * "ab".index(c) + k, "PNG"))
        for n, p in enumerate(("train", "valid", "test"))
        for c in "ab"
        for k in range(4)
    ]
    data = DataSet.scan(made(tmp_path, members))
    cut = data.split()
    for part, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        assert {data.items[i].path.split("/")[0] for i in getattr(cut, part)} == {name}
    without = DataSet.scan(made(tmp_path, [m for m in members if "valid" not in str(m[0])], "two"))
    cut = without.split(0.25)
    assert (len(cut.train), len(cut.val), len(cut.test)) == (6, 2, 8)


def test_duplicates_across_parts_and_classes(tmp_path: Path) -> None:
    members = [*good("train/"), *[(n, d + b"") for n, d in good("test/")][:4], ("train/dogs/cat.jpg", good()[1][1])]
    summary = summarize(DataSet.scan(made(tmp_path, members)))
    groups = {tuple(row.files): row for row in summary.duplicates}
    both = groups["test/cats/1.jpg", "train/cats/1.jpg", "train/dogs/cat.jpg"]
    assert both.across and both.across_what == ["classes", "parts"]
    assert groups["test/cats/0.jpg", "train/cats/0.jpg"].across_what == ["parts"]
    assert summary.duplicates_count == 4
    text = " ".join(summary.warnings)
    assert "4 pictures are in two of train, val and test" in text and "1 picture is in two classes" in text


def test_copies_within_a_class_are_told_but_not_across(tmp_path: Path) -> None:
    row = summarize(DataSet.scan(made(tmp_path, [*good(), ("cats/copy.jpg", good()[0][1])]))).duplicates[0]
    assert row == Duplicates(files=["cats/0.jpg", "cats/copy.jpg"], count=2, across=False, across_what=[])


def test_the_fingerprint(tmp_path: Path) -> None:
    first = DataSet.scan(made(tmp_path, good()))
    assert len(first.fingerprint) == 64
    assert DataSet.scan(made(tmp_path, good("any/depth/above/"), "deep")).fingerprint == first.fingerprint
    byte = [*good()[:-1], (good()[-1][0], good()[-1][1] + b"\0")]  # behind the picture's end: the same pixels
    assert DataSet.scan(made(tmp_path, byte, "byte")).fingerprint != first.fingerprint
    named = [*good()[:-1], ("dogs/9.jpg", good()[-1][1])]
    assert DataSet.scan(made(tmp_path, named, "named")).fingerprint != first.fingerprint
    parts = [(f"{i.path}\0{i.sha256}\n") for i in first.items]
    assert first.fingerprint == hashlib.sha256("".join(sorted(parts)).encode()).hexdigest()


def test_save_and_load_open_no_picture_and_write_nothing_to_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(tmp_path, [*good(), ("cats/zero.jpg", b"")])
    before = state(folder)
    data = DataSet.scan(folder)
    assert [p.name for p in tmp_path.iterdir()] == ["pets"]
    assert data.save() == tmp_path / "pets.workbench" / "data.json"
    pixels(data, 16, data.cache)
    assert data.cache.parent == tmp_path / "pets.workbench"
    assert state(folder) == before
    monkeypatch.setattr(pictures, "read", lambda *_: pytest.fail("opened"))
    again = DataSet.load(tmp_path / "pets.workbench")
    for field in ("folder", "classes", "items", "problems", "fingerprint", "home"):
        assert getattr(again, field) == getattr(data, field), field
    assert again.split() == data.split()


def test_a_home_around_its_pictures_can_be_moved(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    DataSet.scan(made(tmp_path / "home", good("set/"), "pictures")).save()
    text = (tmp_path / "home" / "data.json").read_text()
    assert json.loads(text)["folder"] == "pictures/set" and str(tmp_path) not in text
    (tmp_path / "home").rename(tmp_path / "moved")
    assert DataSet.load(tmp_path / "moved").path(0).read_bytes() == good()[0][1]


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("items"),
        lambda c: c.update(version=9),
        lambda c: c["items"][0].__setitem__(3, "00" * 32),
        lambda c: c["items"][0].__setitem__(0, "../../secret.jpg"),
        lambda c: c["items"].append(["x"]),
        lambda c: c.update(items=7),
    ],
)
def test_a_changed_data_json_is_refused(change, tmp_path: Path) -> None:
    path = DataSet.scan(made(tmp_path, good())).save()
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidFile, match="Scan the pictures again") as caught:
        DataSet.load(path.parent)
    assert str(tmp_path) not in caught.value.message


def test_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="no data set"):
        DataSet.load(tmp_path)


def test_the_summary_is_json_and_bounded(tmp_path: Path) -> None:
    members = [*good(), *[(f"cats/{k:04}.txt", b"x") for k in range(250)]]
    members += [(f"dogs/copy{k}-{n}.jpg", picture(900 + n)) for n in range(60) for k in range(2)]
    summary = summarize(DataSet.scan(made(tmp_path, members)), samples=2)
    assert len(summary.problems) == 200 and summary.problems_count == 250 == summary.left_out
    assert len(summary.duplicates) == 50 and summary.duplicates_count == 60
    assert summary.imbalance == 41.0
    assert "imbalanced" in summary.warnings[1] and "Fewer than 20 pictures" in summary.warnings[0]
    assert [len(rows) for rows in summary.samples.values()] == [2, 2]
    assert str(tmp_path) not in json.dumps(asdict(summary))


def test_limits_of_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made(tmp_path, good())
    for name, limit, words in (("MAX_PICTURES", 5, "at most 5"), ("MAX_FILES", 6, "more than 6 files")):
        with monkeypatch.context() as patch:
            patch.setattr(layout, name, limit)
            with pytest.raises(InvalidFile, match=words):
                DataSet.scan(folder)


def test_pixels_are_made_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = DataSet.scan(made(tmp_path, good()))
    told: list[tuple[str, float]] = []
    first = pixels(data, 12, tmp_path / "cache", lambda stage, share: told.append((stage, share)), workers=3)
    assert (first.shape, first.dtype, first.flags.writeable) == ((6, 12, 12, 3), np.uint8, False)
    for index in range(6):
        assert (first[index] == pictures.resize(pictures.load(data.path(index)), 12)).all()
    assert told == [("Preparing the pictures", 0.0)]
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [f"pixels-{data.fingerprint[:16]}-12.npy"]
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "read", lambda *_: pytest.fail("decoded again"))
        assert (pixels(data, 12, tmp_path / "cache") == first).all()
    kept = next((tmp_path / "cache").iterdir())
    first = np.array(first)
    kept.write_bytes(kept.read_bytes()[:-5])
    assert (pixels(data, 12, tmp_path / "cache") == first).all()


def test_a_picture_that_was_changed_since_is_named(tmp_path: Path) -> None:
    data = DataSet.scan(made(tmp_path, good()))
    data.path(2).write_bytes(picture(555))
    with pytest.raises(InvalidFile, match=r"cats/2\.jpg was changed or removed"):
        pixels(data, 8, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


SPLIT_0 = (1, 17, 25, 27, 56, 58)
DIGESTS = ["d36d2a6661e72aba", "480882e71377a520", "e1000469ca460b7b"]
