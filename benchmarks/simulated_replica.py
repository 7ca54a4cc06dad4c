"""The simulated replica of benchmarks/simulate_replicas.py: the cost of a call, and the pictures in it."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

from lib.replicas.router import Candidate

STEPS = 16, 40
ROWS = 2  # per guided picture
# Width and height as multiples of the model's own, and the share of requests.
SIZES = ((1.0, 1.0, 0.4), (1.0, 1.5, 0.2), (1.5, 1.0, 0.2), (1.25, 1.25, 0.1), (1.5, 1.5, 0.1))


@dataclass(frozen=True)
class Kind:
    """A call of the network takes ``fixed`` + ``each`` x rows x area seconds; the model's own size has area 1."""

    name: str
    fixed: float
    each: float
    cap: int  # rows per call at the model's own size

    def most(self, area: float) -> int:
        return max(ROWS, int(self.cap / area))

    def capacity(self) -> float:
        """Returns rows x area per second, in full calls of one size."""
        return self.cap / (self.fixed + self.each * self.cap)


KINDS = {kind.name: kind for kind in (Kind("sd15", 0.018, 0.0022, 32), Kind("sdxl", 0.030, 0.022, 16))}


@dataclass(slots=True, eq=False)
class Picture:
    size: int
    area: float
    steps: int
    came: float

    @property
    def work(self) -> float:
        return ROWS * self.area * self.steps


@dataclass(slots=True)
class Group:
    """Rows of one size. A picture that joins at ``ticks`` n leaves at n + its steps."""

    rows: int = 0
    ticks: int = 0
    ends: list[tuple[int, int, Picture]] = field(default_factory=list)


class Replica:
    """Runs one call after another. Sizes with rows take turns."""

    def __init__(self, number: int, kind: Kind) -> None:
        self.place, self.kind = Candidate(number, models=frozenset({kind.name})), kind
        self.waiting: list[deque[Picture]] = [deque() for _ in SIZES]
        self.groups, self.turns, self.busy = [Group() for _ in SIZES], deque[int](), False
        self.joined = 0

    def send(self, picture: Picture) -> None:
        self.waiting[picture.size].append(picture)
        self.place.load += picture.work

    def room(self, picture: Picture) -> bool:
        """Whether the picture would be in the next call of its size."""
        rows = self.groups[picture.size].rows + ROWS * len(self.waiting[picture.size])
        return rows + ROWS <= self.kind.most(picture.area)

    def begin(self) -> tuple[float, int] | None:
        """Returns the seconds and rows of the next call, None if there is nothing to do."""
        for size, line in enumerate(self.waiting):
            group = self.groups[size]
            while line and group.rows + ROWS <= self.kind.most(line[0].area):
                if not group.rows:
                    self.turns.append(size)
                picture = line.popleft()
                group.rows += ROWS
                self.joined += 1
                heapq.heappush(group.ends, (group.ticks + picture.steps, self.joined, picture))
        self.busy = bool(self.turns)
        if not self.turns:
            return None
        group = self.groups[self.turns[0]]
        return self.kind.fixed + self.kind.each * group.rows * group.ends[0][2].area, group.rows

    def end(self) -> list[Picture]:
        """Ends the call and returns the pictures that are ready."""
        size = self.turns.popleft()
        group, ready = self.groups[size], []
        self.place.load -= group.rows * group.ends[0][2].area
        group.ticks += 1
        while group.ends and group.ends[0][0] <= group.ticks:
            ready.append(heapq.heappop(group.ends)[2])
            group.rows -= ROWS
        if group.rows:
            self.turns.append(size)
        return ready
