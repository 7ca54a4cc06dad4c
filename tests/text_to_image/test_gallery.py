from __future__ import annotations

import os
import time
import zipfile
from pathlib import Path

import pytest

from lib.text_to_image.gallery import MAX_PICTURES, ZIP_SECONDS, Gallery


def test_newest_first_and_only_ones_own(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "g", hours=1)
    ann, ben = gallery.new_visitor(), gallery.new_visitor()
    for k in range(MAX_PICTURES + 3):
        gallery.add(ann, str(k).encode(), f"p{k}")
    gallery.add(ben, b"ben", "b")
    assert [p.read_bytes() for p in gallery.pictures(ann)][:2] == [
        str(MAX_PICTURES + 2).encode(),
        str(MAX_PICTURES + 1).encode(),
    ]
    assert len(gallery.pictures(ann)) == MAX_PICTURES and len(gallery.pictures(ben)) == 1
    gallery.clear(ann)
    assert gallery.pictures(ann) == [] and len(gallery.pictures(ben)) == 1


@pytest.mark.parametrize("key", ["", "..", "../..", "a" * 31, "A" * 32, "/" + "a" * 31, "a" * 33, None, 7, ["a" * 32]])
def test_a_key_from_the_browser_is_never_a_path(tmp_path: Path, key: object) -> None:
    gallery = Gallery(tmp_path / "g", hours=1)
    (tmp_path / "keep.png").write_bytes(b"x")
    assert gallery.pictures(key) == [] and not gallery.is_key(key)  # type: ignore[arg-type]
    gallery.clear(key)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        gallery.add(key, b"", "x")  # type: ignore[arg-type]
    assert (tmp_path / "keep.png").exists()


def test_old_pictures_are_forgotten(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "g", hours=2)
    visitor = gallery.new_visitor()
    old, new = gallery.add(visitor, b"1", "old"), gallery.add(visitor, b"2", "new")
    os.utime(old, (time.time() - 3 * 3600,) * 2)
    gallery.sweep()
    assert gallery.pictures(visitor) == [new]


def test_an_address_is_of_one_picture_and_does_not_tell_its_visitor(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "g", hours=1)
    ann, ben = gallery.new_visitor(), gallery.new_visitor()
    path = gallery.add(ann, b"1", "a-red-car-5")
    assert gallery.path_of(path.parent.name, path.name) == gallery.find(ann, path.name) == path
    assert ann not in str(path) and gallery.find(ben, path.name) is None
    for home, name in [
        ("..", path.name),
        (path.parent.name, "../" + path.name),
        (path.parent.name, "x.png"),
        ("", ""),
        (1, 2),
    ]:
        assert gallery.path_of(home, name) is None
    gallery.remove(ben, path.name)
    assert path.exists()
    gallery.remove(ann, path.name)
    assert gallery.path_of(path.parent.name, path.name) is None


def test_all_in_a_zip_for_some_minutes(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "g", hours=1)
    visitor = gallery.new_visitor()
    for content in (b"1", b"2"):
        gallery.add(visitor, content, "a-red-car-5")
    gallery.add(visitor, b"3", "a-boat-6")
    path = gallery.zip_all(visitor)
    assert gallery.path_of("zip", path.name) == path
    with zipfile.ZipFile(path) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {"a-boat-6.png": b"3", "a-red-car-5.png": b"2", "a-red-car-5-2.png": b"1"}
    os.utime(path, (time.time() - ZIP_SECONDS - 1,) * 2)
    gallery.sweep()
    assert gallery.path_of("zip", path.name) is None and len(gallery.pictures(visitor)) == 3
