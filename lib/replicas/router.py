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
class Place:
    """A replica as the router sees it: its work left, and the models that it has in memory."""

    number: int
    load: float = 0.0
    models: frozenset[str] = field(default_factory=frozenset)


class Router:
    """Keeps how much work of each key came in lately; everything else is given."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._rng = rng or random.Random()
        self._work: dict[Key, float] = {}
        self._at = 0.0

    def note(self, key: Key, work: float, now: float) -> None:
        """A request came in. ``now`` in seconds, never going back."""
        fade = 0.5 ** ((now - self._at) / HALF_LIFE)
        self._work = {known: value * fade for known, value in self._work.items()}
        self._work[key] = self._work.get(key, 0.0) + work
        self._at = now

    def choose(
        self, key: Key, places: Sequence[Place], fits: Callable[[Place], bool], *, waiting: float, batch: float
    ) -> Place | None:
        """The place for one request of ``key``, or None: it waits until one of its window has room.

        ``waiting``: work of this key that has no place yet; ``batch``: work of a full batch of it. A place that does not
        ``fits`` is never chosen.
        """
        if not places:
            return None
        window = self.window(key, places)
        own = self._best([place for place in window if fits(place)])
        others = [p for p in places if p not in window and fits(p) and (key[0] in p.models or not p.load)]
        other = self._best(others)
        if other is not None:
            least = own or min(window, key=lambda place: place.load)
            if least.load + waiting / len(window) > SPILL * other.load + batch / 2:
                return other
        return own

    def window(self, key: Key, places: Sequence[Place]) -> list[Place]:
        """The replicas that ``key`` owns, one at least; neighbours may share one."""
        places = sorted(places, key=lambda place: place.number)
        work = self._counted(key, len(places))
        own = self._of_models(work, places)[key[0]]
        sizes = sorted(other for other in work if other[0] == key[0])
        whole = sum(work[size] for size in sizes)
        start = sum(work[size] for size in sizes if size < key) / whole * len(own)
        end = start + work[key] / whole * len(own)
        first = min(math.floor(start + 1e-9), len(own) - 1)
        return own[first : max(first + 1, math.ceil(end - 1e-9))]

    def _counted(self, key: Key, count: int) -> dict[Key, float]:
        """The work of what still counts, and of ``key`` in any case."""
        whole = sum(self._work.values())
        if not whole:
            return {key: 1.0}
        work = {known: value for known, value in self._work.items() if value / whole * count >= FORGET}
        return work | {key: max(self._work.get(key, 0.0), 1e-9 * whole)}

    def _of_models(self, work: dict[Key, float], places: list[Place]) -> dict[str, list[Place]]:
        """Whole replicas for every model, those first that have it in memory."""
        shares: dict[str, float] = {}
        for (model, *_), value in work.items():
            shares[model] = shares.get(model, 0.0) + value
        models = sorted(shares, key=lambda model: (-shares[model], model))
        if len(models) > len(places):
            return {model: [places[n % len(places)]] for n, model in enumerate(models)}
        whole, counts = sum(shares.values()), dict.fromkeys(models, 1)
        for _ in range(len(places) - len(models)):
            counts[max(models, key=lambda model: shares[model] / whole * len(places) - counts[model])] += 1
        found, left = {}, list(places)
        for model in reversed(models):  # the smallest first: it keeps the one that has it
            left.sort(key=lambda place, model=model: (model not in place.models, len(place.models), place.number))
            found[model] = sorted(left[: counts[model]], key=lambda place: place.number)
            left = left[counts[model] :]
        return found

    def _best(self, places: list[Place]) -> Place | None:
        """The less loaded of two."""
        two = self._rng.sample(places, 2) if len(places) > 2 else places
        return min(two, key=lambda place: place.load, default=None)
