"""Which replica gets a request. Pure: no clock, no threads, no transport.

A call of the network takes rows of one model and one size, so a replica that has several sizes pays one call for each
of them. Every size therefore owns a *window* of replicas, in proportion to its share of the work; of two replicas of
the window the one with less work left is taken (two choices: Mitzenmacher 2001). Where the window has more than twice
the work of the best of two anywhere, and half a batch on top, the request spills over to that one. The model is the
outer key: models share the replicas out first, whole ones, because another model may have to be loaded.

Work is in units of rows x pixels x steps: a guided request takes two rows.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Key = tuple[str, int, int]  # model, width, height; as in the engine

HALF_LIFE = 60.0  # seconds after which the work that came in counts half
FORGET = 0.02  # a model or size with less than this share of one replica owns none
SPILL = 2.0


@dataclass(slots=True, eq=False)
class Candidate:
    """A replica as the router sees it: its work left, and the models that it has in memory."""

    number: int
    load: float = 0.0
    models: frozenset[str] = field(default_factory=frozenset)


class Router:
    """Keeps the recent work of each key; everything else is passed in."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._rng = rng or random.Random()
        self._work: dict[Key, float] = {}
        self._at = 0.0

    def add_work(self, key: Key, work: float, now: float) -> None:
        """Counts a new request. ``now`` is in seconds and never decreases."""
        fade = 0.5 ** ((now - self._at) / HALF_LIFE)
        self._work = {known: value * fade for known, value in self._work.items()}
        self._work[key] = self._work.get(key, 0.0) + work
        self._at = now

    def choose(
        self, key: Key, candidates: Sequence[Candidate], fits: Callable[[Candidate], bool], *, waiting: float, batch: float
    ) -> Candidate | None:
        """The replica for one request of ``key``; None if it has to wait until one of its window has room.

        ``waiting``: queued work of this key; ``batch``: work of a full batch of it. Only candidates that ``fits`` accepts
        are chosen.
        """
        if not candidates:
            return None
        window = self.window(key, candidates)
        own = self._best([candidate for candidate in window if fits(candidate)])
        others = [p for p in candidates if p not in window and fits(p) and (key[0] in p.models or not p.load)]
        other = self._best(others)
        if other is not None:
            least = own or min(window, key=lambda candidate: candidate.load)
            if least.load + waiting / len(window) > SPILL * other.load + batch / 2:
                return other
        return own

    def window(self, key: Key, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The replicas that ``key`` owns, one at least; neighbours may share one."""
        candidates = sorted(candidates, key=lambda candidate: candidate.number)
        work = self._recent_work(key, len(candidates))
        own = self._assign_models(work, candidates)[key[0]]
        sizes = sorted(other for other in work if other[0] == key[0])
        total = sum(work[size] for size in sizes)
        start = sum(work[size] for size in sizes if size < key) / total * len(own)
        end = start + work[key] / total * len(own)
        first = min(math.floor(start + 1e-9), len(own) - 1)
        return own[first : max(first + 1, math.ceil(end - 1e-9))]

    def _recent_work(self, key: Key, count: int) -> dict[Key, float]:
        """The recent work by key, without keys below ``FORGET``, and always with ``key``."""
        total = sum(self._work.values())
        if not total:
            return {key: 1.0}
        work = {known: value for known, value in self._work.items() if value / total * count >= FORGET}
        return work | {key: max(self._work.get(key, 0.0), 1e-9 * total)}

    def _assign_models(self, work: dict[Key, float], candidates: list[Candidate]) -> dict[str, list[Candidate]]:
        """Assigns replicas to models, preferably those that have the model in memory."""
        shares: dict[str, float] = {}
        for (model, *_), value in work.items():
            shares[model] = shares.get(model, 0.0) + value
        models = sorted(shares, key=lambda model: (-shares[model], model))
        if len(models) > len(candidates):
            return {model: [candidates[n % len(candidates)]] for n, model in enumerate(models)}
        total, counts = sum(shares.values()), dict.fromkeys(models, 1)
        for _ in range(len(candidates) - len(models)):
            counts[max(models, key=lambda model: shares[model] / total * len(candidates) - counts[model])] += 1
        found, left = {}, list(candidates)
        for model in reversed(models):  # the model with the least work first, so that it keeps the replica that has it
            left.sort(
                key=lambda candidate, model=model: (model not in candidate.models, len(candidate.models), candidate.number)
            )
            found[model] = sorted(left[: counts[model]], key=lambda candidate: candidate.number)
            left = left[counts[model] :]
        return found

    def _best(self, candidates: list[Candidate]) -> Candidate | None:
        """The less loaded of two random ones."""
        two = self._rng.sample(candidates, 2) if len(candidates) > 2 else candidates
        return min(two, key=lambda candidate: candidate.load, default=None)
