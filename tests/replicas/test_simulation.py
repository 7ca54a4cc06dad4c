"""The router that ships, in the simulation of benchmarks/simulate_replicas.py: sizes apart are faster than sizes mixed."""

from __future__ import annotations

import pytest

from benchmarks.simulate_replicas import ASSUMED, POLICIES, simulate, tables
from benchmarks.simulated_replica import KINDS, SIZES, Kind, Picture, Replica


@pytest.mark.parametrize("name", KINDS)
def test_by_size_beats_random_and_two(name: str) -> None:
    found = {policy: simulate(KINDS[name], 16, 0.7, policy, 45) for policy in POLICIES}
    ours = found.pop("by size")
    assert not ours.grows
    assert ours.p95 < min(found["random"].p95, found["power of two"].p95)
    assert ours.rate == pytest.approx(found["random"].rate, rel=0.15)  # nobody is kept waiting for ever


def test_a_call_of_one_size_takes_what_it_should() -> None:
    """Two pictures of one size share calls, a third of another size takes turns with them."""
    kind = Kind("small", 0.01, 0.001, 4)
    replica = Replica(0, kind)
    for size in (0, 0, 0, 4):
        replica.send(Picture(size, SIZES[size][0] * SIZES[size][1], 2, 0.0))
    assert replica.place.load == pytest.approx(2 * 2 * (3 + 2.25))
    done, calls = [], []
    while (call := replica.begin()) is not None:
        calls.append((round(call[0], 6), call[1]))
        done += [picture.size for picture in replica.end()]
    own, large = (0.014, 4), (round(0.01 + 0.001 * 2 * 2.25, 6), 2)
    assert calls == [own, large, own, large, (0.012, 2), (0.012, 2)]  # at most 4 rows: the third picture waits
    assert done == [0, 0, 4, 0] and replica.place.load == pytest.approx(0)


def test_the_same_seed_is_the_same_table() -> None:
    one, two = ({("sd15", 0.7, 2, p): simulate(KINDS["sd15"], 2, 0.7, p, 20, seed=3) for p in POLICIES} for _ in range(2))
    assert tables(one) == tables(two) and "| 2 |" in tables(one)


def test_too_much_is_said_to_grow() -> None:
    assert simulate(KINDS["sdxl"], 4, 1.6, "by size", 120).grows


def test_assumptions_are_those_of_the_code() -> None:
    for kind in KINDS.values():
        words = f"{1000 * kind.fixed:g} + {1000 * kind.each:g} ms x rows x area with at most {kind.cap}"
        assert words in " ".join(ASSUMED.split())
    assert sum(share for *_, share in SIZES) == pytest.approx(1)
