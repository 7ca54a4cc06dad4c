"""Simulates routing policies for 1 to 256 replicas: seconds until a picture is done, and rows per call.

python benchmarks/simulate_replicas.py                      # the tables of docs/scale.md, a minute or two
python benchmarks/simulate_replicas.py --replicas 16 --loads 0.7 --seconds 60

"by size" is the router of the app (lib/replicas/router.py); the others are baselines.
"""

from __future__ import annotations

import argparse
import heapq
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.simulated_replica import KINDS, ROWS, SIZES, STEPS, Kind, Picture, Replica
from lib.replicas.router import Router

MIX = ", ".join(f"{width:g} x {height:g}: {share:.0%}" for width, height, share in SIZES)
ASSUMED = f"""Assumed, not measured: a call of the network takes 18 + 2.2 ms x rows x area with at most 32 rows at
the model's own size (sd15), 30 + 22 ms x rows x area with at most 16 (sdxl). Pictures are guided (2 rows), have
{STEPS[0]} to {STEPS[1]} steps and one of {len(SIZES)} sizes ({MIX}
of the model's own sides), and come one by one (Poisson). Sizes take turns in a replica, a call each, as in
lib/text_to_image/engine.py. Load is the share of what full calls of one size would do. Decoding, loading and
messages take no time; no replica is lost; nobody gives up."""

# Policies assign a picture at once. None stands for the router, which lets pictures wait until a replica has room.
Policy = Callable[[Sequence[Replica], random.Random], Replica]


def two(replicas: Sequence[Replica], rng: random.Random) -> Replica:
    return min(rng.choices(replicas, k=2), key=lambda replica: replica.place.load)


POLICIES: dict[str, Policy | None] = {
    "random": lambda replicas, rng: rng.choice(replicas),
    "power of two": two,
    "shortest of all": lambda replicas, rng: min(replicas, key=lambda replica: replica.place.load),
    "by size": None,
}


@dataclass(frozen=True)
class Found:
    """Results of a simulation: ``p50`` and ``p95`` in seconds, ``rate`` in pictures per second, mean ``rows`` per
    call.
    """

    p50: float
    p95: float
    rate: float
    rows: float
    grows: bool  # the queue keeps growing: the load exceeds the capacity with this policy


def simulate(kind: Kind, count: int, load: float, policy: str, seconds: float, seed: int = 0) -> Found:
    """Returns the statistics of the pictures that arrive after the first third of ``seconds``."""
    rng, chance = random.Random(seed), random.Random(seed + 1)  # separate, so that each policy gets the same pictures
    replicas = [Replica(number, kind) for number in range(count)]
    choose, router = POLICIES[policy], Router(chance)
    # line: pictures that wait on the page, by size
    candidates, line = [replica.place for replica in replicas], [deque[Picture]() for _ in SIZES]
    mean = ROWS * sum(w * h * share for w, h, share in SIZES) * sum(STEPS) / 2
    rate = load * kind.capacity() * count / mean
    events: list[tuple[float, int, Replica | None]] = [(rng.expovariate(rate), 0, None)]
    number, calls, rows, done, under_way, last, waits = 1, 0, 0, 0, 0, 0.0, []
    inside = [0.0, 0.0, 0.0]  # pictures x seconds, for each third of the time

    def start(replica: Replica, now: float) -> None:
        nonlocal number, calls, rows
        if (call := replica.begin()) is not None:
            heapq.heappush(events, (now + call[0], number, replica))
            number, calls, rows = number + 1, calls + 1, rows + call[1]

    def sent(picture: Picture, now: float) -> bool:
        if choose is not None:
            replica = choose(replicas, chance)
        else:
            waiting = sum(queued.work for queued in line[picture.size])
            full = kind.most(picture.area) * picture.area * sum(STEPS) / 2
            fits = lambda place: replicas[place.number].room(picture)  # noqa: E731
            place = router.choose(_key(kind, picture), candidates, fits, waiting=waiting, batch=full)
            if place is None:
                return False
            replica = replicas[place.number]
        replica.send(picture)
        if not replica.busy:
            start(replica, now)
        return True

    while events and events[0][0] < seconds:
        now, _, replica = heapq.heappop(events)
        inside[int(3 * now / seconds)] += under_way * (now - last)
        last = now
        if replica is None:
            size = rng.choices(range(len(SIZES)), [share for *_, share in SIZES])[0]
            picture = Picture(size, SIZES[size][0] * SIZES[size][1], rng.randint(*STEPS), now)
            heapq.heappush(events, (now + rng.expovariate(rate), number, None))
            number, under_way = number + 1, under_way + 1
            router.add_work(_key(kind, picture), picture.work, now)
            if line[size] or not sent(picture, now):
                line[size].append(picture)
            continue
        ready = replica.end()
        under_way -= len(ready)
        done += len(ready) * (now > seconds / 3)
        waits += [now - picture.came for picture in ready if picture.came > seconds / 3]
        if ready:
            for waiting in line:
                while waiting and sent(waiting[0], now):
                    waiting.popleft()
        start(replica, now)
    waits.sort()
    grows = inside[2] > 1.4 * inside[1] + seconds * count**0.5
    return Found(waits[len(waits) // 2], waits[int(len(waits) * 0.95)], done / (seconds * 2 / 3), rows / calls, grows)


def _key(kind: Kind, picture: Picture) -> tuple[str, int, int]:
    width, height, _ = SIZES[picture.size]
    return kind.name, int(512 * width), int(512 * height)


def tables(found: dict[tuple[str, float, int, str], Found]) -> str:
    """Returns a Markdown table per model and load: seconds as p50 / p95, and rows per call."""
    lines = []
    for name, load in dict.fromkeys((name, load) for name, load, *_ in found):
        lines += [
            f"\n{name}, load {load:g}:\n",
            "| replicas | " + " | ".join(POLICIES) + " | pictures/s |",
            "|---" * 6 + "|",
        ]
        for count in dict.fromkeys(count for *_, count, _ in found):
            row = [found[name, load, count, policy] for policy in POLICIES]
            cells = [f"{f.p50:.1f} / {f.p95:.1f}{' grows' if f.grows else ''} ({f.rows:.0f})" for f in row]
            lines.append(
                f"| {count} | " + " | ".join(cells) + f" | {row[-1].rate:{',.0f' if row[-1].rate > 20 else '.1f'}} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4, 16, 64, 256])
    parser.add_argument("--loads", type=float, nargs="+", default=[0.7, 0.85])
    parser.add_argument("--models", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seconds", type=float, help="that are simulated; by default fewer with more replicas")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    settings = list(product(options.models, options.loads, options.replicas, POLICIES))
    with ProcessPoolExecutor(2) as pool:
        tasks = [
            pool.submit(simulate, KINDS[m], n, load, policy, options.seconds or max(45, 1800 / n), options.seed)
            for m, load, n, policy in sorted(settings, key=lambda one: -one[2])
        ]
        results = dict(zip(sorted(settings, key=lambda one: -one[2]), (one.result() for one in tasks), strict=True))
    print(ASSUMED)
    print("\nSeconds from a request to its picture, p50 / p95, and rows in a call in brackets.")
    print(tables({one: results[one] for one in settings}))
    print(f"\n{len(settings)} simulations in {time.monotonic() - began:.0f} s.")


if __name__ == "__main__":
    main()
