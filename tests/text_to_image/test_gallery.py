from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lib.text_to_image.gallery import MOST, Gallery


def test_newest_first_and_only_ones_own(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "g", hours=1)
    ann, ben = gallery.new_visitor(), gallery.new_visitor()
    for k in range(MOST + 3):
        gallery.add(ann, str(k).encode(), f"p{k}")
    gallery.add(ben, b"ben", "b")
    assert [p.read_bytes() for p in gallery.pictures(ann)][:2] == [str(MOST + 2).encode(), str(MOST + 1).encode()]
    assert len(gallery.pictures(ann)) == MOST and len(gallery.pictures(ben)) == 1
    gallery.clear(ann)
    assert gallery.pictures(ann) == [] and len(gallery.pictures(ben)) == 1


@pytest.mark.parametrize("key", ["", "..", "../..", "a" * 31, "A" * 32, "/" + "a" * 31, "a" * 33, None, 7, ["a" * 32]])
def test_a_key_from_the_browser_is_never_a_path(tmp_path: Path, key: object) -> None:
    gallery = Gallery(tmp_path / "g", hours=1)
    (tmp_path / "keep.png").write_bytes(b"x")
    assert gallery.pictures(key) == [] and not gallery.knows(key)  # type: ignore[arg-type]
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
