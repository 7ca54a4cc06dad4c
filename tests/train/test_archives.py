"""What the table of hostile zips does not ask: exact limits, and that nothing lands outside of the folder."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import pytest

from lib.archives import Limits
from lib.errors import InvalidFile
from lib.train.archives import unpack
from tests.train.hostile import good, picture, zipped


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "upload.zip"
    path.write_bytes(data)
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_comes_out_is_what_went_in(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    left_out = unpack(written(tmp_path, zipped(good())), tmp_path / "out", progress=lambda *a: told.append(a))
    assert left_out == {} and told == [("Unpacking", 0.0)]
    assert files(tmp_path / "out") == dict(good())


@pytest.mark.parametrize(
    ("limits", "words"), [(Limits(members=5), "6 members; at most 5"), (Limits(total=1000), "at most 1,000 are unpacked")]
)
def test_limits_of_the_whole(limits: Limits, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match=words):
        unpack(written(tmp_path, zipped(good())), tmp_path / "out", limits)
    assert files(tmp_path / "out") == {}


def test_a_limit_of_one_member(tmp_path: Path) -> None:
    size = max(len(data) for _, data in good())
    big = picture(1, "PNG")
    assert len(big) > size
    left_out = unpack(written(tmp_path, zipped([*good(), ("cats/big.png", big)])), tmp_path / "out", Limits(member=size))
    assert list(left_out) == ["cats/big.png"] and files(tmp_path / "out") == dict(good())


def test_a_member_that_is_longer_than_it_says_stops_there(tmp_path: Path) -> None:
    """Both headers say 9 bytes; the stream would go on to 50 million."""
    data = zipped([("cats/a.jpg", b"\0" * 50_000_000)])
    lie = data.replace((50_000_000).to_bytes(4, "little"), (9).to_bytes(4, "little"))
    left_out = unpack(written(tmp_path, lie), tmp_path / "out")
    assert left_out == {"cats/a.jpg": "damaged in the archive"} and files(tmp_path / "out") == {}


def test_random_damage_is_refused_or_harmless(tmp_path: Path) -> None:
    """300 zips with changed bytes: each is unpacked or refused as our error, never elsewhere."""
    whole, rng = zipped(good("set/")), random.Random(0)
    refused = 0
    for number in range(300):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3, 10))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        here = tmp_path / str(number)
        here.mkdir()
        try:
            unpack(written(here, bytes(data)), here / "out")
        except InvalidFile as error:
            refused += 1
            assert str(tmp_path) not in error.message
        assert {p.name for p in here.iterdir()} <= {"upload.zip", "out"}
    assert 50 < refused < 300


def test_names_that_meet_only_on_disk(tmp_path: Path) -> None:
    """Two spellings of one name: the second is told, not mixed in."""
    left_out = unpack(written(tmp_path, zipped([("K\u00e4fer/1.jpg", b"a"), ("Ka\u0308fer/1.jpg", b"b")])), tmp_path / "out")
    assert left_out == {"Käfer/1.jpg (again)": "duplicate file name"}
    assert files(tmp_path / "out") == {"Käfer/1.jpg": b"a"}


def test_a_large_zip_of_the_64_bit_kind(tmp_path: Path) -> None:
    path = tmp_path / "upload.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in good():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
    assert unpack(path, tmp_path / "out") == {} and files(tmp_path / "out") == dict(good())
