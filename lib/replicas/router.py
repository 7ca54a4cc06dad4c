"""Choose the replica for a request. This module has no clock, threads or transport.

A call of the network takes rows of one model and one size, so a replica with several sizes needs one call for each. Each
size therefore owns a *window* of replicas, in proportion to its share of the work; of two random replicas of the window,
the one with less work left is chosen (power of two choices: Mitzenmacher 2001). If the window has more than twice the work
of the best of two other replicas plus half a batch, the request spills over to that replica. Replicas are first divided
among models, as whole replicas, since another model may have to be loaded, and then among the sizes of a model.

Work is in units of rows x pixels x steps: a guided request takes two rows.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Key = tuple[str, int, int]  # model, width, height; as in the engine

HALF_LIFE = 60.0  # seconds after which past work counts half
FORGET = 0.02  # a model or size with less than this share of one replica owns none
SPILL = 2.0


@dataclass(slots=True, eq=False)
class Candidate:
    """A replica as the router sees it: its remaining work, and the models that it has in memory."""

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
        """Count a new request. ``now``: in seconds, never decreasing."""
        decay = 0.5 ** ((now - self._at) / HALF_LIFE)
        self._work = {known: value * decay for known, value in self._work.items()}
        self._work[key] = self._work.get(key, 0.0) + work
        self._at = now

    def choose(
        self, key: Key, candidates: Sequence[Candidate], fits: Callable[[Candidate], bool], *, waiting: float, batch: float
    ) -> Candidate | None:
        """Return the replica for a request of ``key``, or None if it must wait for room in its window.

        ``waiting``: queued work of this key; ``batch``: work of a full batch of it. Only candidates that ``fits`` accepts
        are chosen.
        """
        if not candidates:
            return None
        window = self.window(key, candidates)
        best_in_window = self._best([candidate for candidate in window if fits(candidate)])
        elsewhere = [p for p in candidates if p not in window and fits(p) and (key[0] in p.models or not p.load)]
        best_elsewhere = self._best(elsewhere)
        if best_elsewhere is not None:
            least_loaded = best_in_window or min(window, key=lambda candidate: candidate.load)
            if least_loaded.load + waiting / len(window) > SPILL * best_elsewhere.load + batch / 2:
                return best_elsewhere
        return best_in_window

    def window(self, key: Key, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the replicas that ``key`` owns, at least one. Neighbouring keys may share one."""
        candidates = sorted(candidates, key=lambda candidate: candidate.number)
        work = self._recent_work(key, len(candidates))
        model_replicas = self._assign_models(work, candidates)[key[0]]
        sizes = sorted(other for other in work if other[0] == key[0])
        total = sum(work[size] for size in sizes)
        start = sum(work[size] for size in sizes if size < key) / total * len(model_replicas)
        end = start + work[key] / total * len(model_replicas)
        first = min(math.floor(start + 1e-9), len(model_replicas) - 1)
        return model_replicas[first : max(first + 1, math.ceil(end - 1e-9))]

    def _recent_work(self, key: Key, count: int) -> dict[Key, float]:
        """Return the recent work by key, without keys below ``FORGET`` but always with ``key``."""
        total = sum(self._work.values())
        if not total:
            return {key: 1.0}
        work = {known: value for known, value in self._work.items() if value / total * count >= FORGET}
        return work | {key: max(self._work.get(key, 0.0), 1e-9 * total)}

    def _assign_models(self, work: dict[Key, float], candidates: list[Candidate]) -> dict[str, list[Candidate]]:
        """Assign replicas to models, preferably those that have the model in memory."""
        shares: dict[str, float] = {}
        for (model, *_), value in work.items():
            shares[model] = shares.get(model, 0.0) + value
        models = sorted(shares, key=lambda model: (-shares[model], model))
        if len(models) > len(candidates):
            return {model: [candidates[n % len(candidates)]] for n, model in enumerate(models)}
        total, counts = sum(shares.values()), dict.fromkeys(models, 1)
        for _ in range(len(candidates) - len(models)):
            counts[max(models, key=lambda model: shares[model] / total * len(candidates) - counts[model])] += 1
        assigned, unassigned = {}, list(candidates)
        for model in reversed(models):  # the model with the least work first, so that it keeps the replica that has it
            unassigned.sort(
                key=lambda candidate, model=model: (model not in candidate.models, len(candidate.models), candidate.number)
            )
            assigned[model] = sorted(unassigned[: counts[model]], key=lambda candidate: candidate.number)
            unassigned = unassigned[counts[model] :]
        return assigned

    def _best(self, candidates: list[Candidate]) -> Candidate | None:
        """Return the less loaded of two random candidates, or None if there are none."""
        sample = self._rng.sample(candidates, 2) if len(candidates) > 2 else candidates
        return min(sample, key=lambda candidate: candidate.load, default=None)
