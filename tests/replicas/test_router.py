"""The policy alone: windows in proportion, least loaded of two, spill; when replicas are added."""

from __future__ import annotations

import random

import pytest

from lib.replicas.address import parse
from lib.replicas.router import HALF_LIFE, Candidate, Router
from lib.replicas.scaling import Scaler
from lib.settings import Settings

SMALL, MIDDLE, LARGE = ("m", 64, 64), ("m", 96, 96), ("m", 128, 128)


def router(**work: float) -> Router:
    found = Router(random.Random(0))
    for name, value in work.items():
        found.add_work({"small": SMALL, "middle": MIDDLE, "large": LARGE, "other": ("other", 64, 64)}[name], value, 0.0)
    return found


def places(*loads: float, models: tuple[str, ...] = ("m",)) -> list[Candidate]:
    return [Candidate(number, load, frozenset(models)) for number, load in enumerate(loads)]


def numbers(found: list[Candidate]) -> list[int]:
    return [place.number for place in found]


def always(place: Candidate) -> bool:
    return True


def test_windows_are_in_proportion_to_the_work() -> None:
    found, all_of_them = router(small=1, middle=2, large=1), places(*[0.0] * 8)
    assert numbers(found.window(SMALL, all_of_them)) == [0, 1]
    assert numbers(found.window(MIDDLE, all_of_them)) == [2, 3, 4, 5]
    assert numbers(found.window(LARGE, all_of_them)) == [6, 7]
    assert numbers(router(small=9, large=1).window(LARGE, places(0, 0))) == [1]
    assert numbers(router(small=9, large=1).window(SMALL, places(0, 0))) == [0, 1]
    assert numbers(found.window(("m", 72, 72), places(0, 0))) == [0]  # never seen: one that it shares


def test_models_have_whole_replicas_those_first_that_have_them_loaded() -> None:
    found = router(small=5, large=4, other=1)
    four = [Candidate(0, 0.0, frozenset({"other"})), *places(0, 0, 0, 0)[1:]]
    assert numbers(found.window(("other", 64, 64), four)) == [0]
    assert numbers(found.window(SMALL, four)) == [1, 2] and numbers(found.window(LARGE, four)) == [2, 3]
    assert numbers(found.window(SMALL, places(0))) == numbers(found.window(("other", 64, 64), places(0))) == [0]


def test_work_of_long_ago_owns_nothing() -> None:
    found = router(small=1, other=1)
    assert numbers(found.window(SMALL, places(0, 0))) != [0, 1]
    found.add_work(SMALL, 1, 8 * HALF_LIFE)
    assert numbers(found.window(SMALL, places(0, 0))) == [0, 1]


def test_the_less_loaded_of_two_that_have_room() -> None:
    found = router(small=1)
    assert found.choose(SMALL, places(3, 1), always, waiting=0, batch=8).number == 1  # type: ignore[union-attr]
    assert found.choose(SMALL, places(3, 1), lambda p: p.number == 0, waiting=0, batch=8).number == 0  # type: ignore[union-attr]
    assert found.choose(SMALL, places(3, 1), lambda p: False, waiting=0, batch=8) is None
    assert found.choose(SMALL, [], always, waiting=0, batch=8) is None
    many = places(*map(float, range(32)))
    chosen = [found.choose(SMALL, many, always, waiting=0, batch=8).number for _ in range(2000)]  # type: ignore[union-attr]
    assert chosen.count(31) == 0 and 0 < chosen.count(0) < 300  # the last never wins; two are drawn, not all compared


def test_what_is_too_much_for_its_window_spills() -> None:
    found = router(small=1, large=1)
    assert found.choose(SMALL, places(5, 1), always, waiting=0, batch=8).number == 0  # type: ignore[union-attr]  # 5 < 2 x 1 + 4
    assert found.choose(SMALL, places(7, 1), always, waiting=0, batch=8).number == 1  # type: ignore[union-attr]
    assert found.choose(SMALL, places(5, 1), always, waiting=2, batch=8).number == 1  # type: ignore[union-attr]
    full = places(5, 1)
    assert found.choose(SMALL, full, lambda p: p is full[1], waiting=0, batch=8) is None  # it waits for its own
    cold = [Candidate(0, 7.0, frozenset({"m"})), Candidate(1, 1.0, frozenset({"other"}))]
    assert found.choose(SMALL, cold, always, waiting=0, batch=8) is cold[0]  # no model leaves for a spill


def test_replicas_are_added_soon_and_taken_away_late() -> None:
    scaler = Scaler(1, 3)
    assert [scaler.decide(1, 0.9, t) for t in range(7)] == [0, 0, 0, 0, 0, 1, 0]
    assert scaler.decide(3, 9.0, 100) == scaler.decide(3, 9.0, 200) == 0  # no more than three
    assert [scaler.decide(2, 0.1, t) for t in (1000, 1200, 1299, 1300, 1301)] == [0, 0, 0, -1, 0]
    scaler = Scaler(1, 3)
    assert [scaler.decide(1, d, t) for t, d in enumerate((0.9, 0.9, 0.1, 0.9, 0.9, 0.9))] == [0] * 6  # not for a moment
    assert scaler.decide(1, 0.0, 9999) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2", ("", 2, 2)),
        ("ray://local", ("local", 1, 1)),
        ("ray://auto?replicas=4", ("auto", 4, 4)),
        ("ray://10.0.0.1:6379?replicas=2-8", ("10.0.0.1:6379", 2, 8)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int, int]) -> None:
    address = parse(Settings.from_environment({"REPLICAS": text}).replicas)
    assert (address.cluster, address.min_replicas, address.max_replicas) == expected


@pytest.mark.parametrize(
    "text", ["-1", "two", "ray://", "ray://a b", "ray://local?replicas=0", "ray://auto?replicas=8-2", "2.5"]
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="REPLICAS was"):
        Settings.from_environment({"REPLICAS": text})
    assert Settings.from_environment({"REPLICAS": "0"}).replicas == ""
