"""In the serving process: features of served pictures, computed when nobody waits for an answer.

Pictures wait here in memory, at most ``MAX_WAITING`` of a run; while the process is busy for long, a random choice stays.
None of them is ever written down.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from lib.train.monitoring import window
from lib.train.monitoring.reference import ABOUT, FOLDER, ImageNetFeatures, Reference, read_info
from lib.train.network_cache import LoadedRun, NetworkCache

MAX_WAITING = 128  # pictures of a run that wait
AT_ONCE = 16  # pictures between two looks whether a request has come
PATIENCE = 5.0  # seconds after which it is done although somebody waits
REFERENCES = 4  # in memory
Pair = tuple[np.ndarray, np.ndarray]  # a picture, uint8, of SIDE pixels a side and of the run's own size


class DriftWorker:
    """``add`` what was classified, and ``work`` when there is time; ``waiting`` and ``late`` say whether there is work."""

    def __init__(self, networks: NetworkCache) -> None:
        self._networks = networks
        self._features: ImageNetFeatures | None = None
        self._waiting: dict[str, list[Pair]] = {}  # by the run's folder
        self._seen: dict[str, int] = {}
        self._references: dict[tuple[str, int], Reference] = {}
        self._since = time.monotonic()

    @property
    def waiting(self) -> bool:
        return bool(self._waiting)

    @property
    def late(self) -> bool:
        return self.waiting and time.monotonic() - self._since > PATIENCE

    def add(self, run: str, some: Sequence[Pair]) -> None:
        """Nothing is kept while there is no reference to compare with."""
        if not some or not (Path(run) / FOLDER / ABOUT).is_file():
            return
        if not self._waiting:
            self._since = time.monotonic()
        line = self._waiting.setdefault(run, [])
        for pair in some:
            self._seen[run] = seen = self._seen.get(run, 0) + 1
            place = len(line) if len(line) < MAX_WAITING else random.randrange(seen)  # reservoir sampling (Vitter 1985)
            if place < MAX_WAITING:
                line[place : place + 1] = [pair]

    def work(self) -> None:
        """At up to ``AT_ONCE`` pictures of one run. What fails here is lost, and nobody's answer with it."""
        run, line = next(iter(self._waiting.items()))
        some, rest = line[:AT_ONCE], line[AT_ONCE:]
        if rest:
            self._waiting[run] = rest
        else:
            del self._waiting[run], self._seen[run]
        self._since = time.monotonic()
        with suppress(Exception):  # the run was deleted or trained anew, or its files are no longer what they were
            network = self._networks.get(run)
            if (reference := self._reference(run, network)) is None:
                return
            self._features = self._features or ImageNetFeatures()
            small, own = (np.stack(kind) for kind in zip(*some, strict=True))
            inputs = reference.inputs_basis(self._features(small))
            model = reference.model_basis(network.classifier.embeddings(own))
            window.add(Path(run) / FOLDER, reference, inputs, model)

    def _reference(self, run: str, network: LoadedRun) -> Reference | None:
        """Read once; None where it was made of other weights, or by other code. A damaged one is given up."""
        folder = Path(run) / FOLDER
        key = run, (folder / ABOUT).stat().st_mtime_ns
        if key not in self._references:
            info = read_info(folder)
            if info is None or info.weights != network.stamp:
                return None  # the app has it made anew
            found = Reference.load(folder)
            if found is None or found.id != info.id:
                if (folder / ABOUT).stat().st_mtime_ns == key[1]:
                    (folder / ABOUT).unlink()  # so that with the next request it is made anew
                return None
            while len(self._references) >= REFERENCES:
                self._references.pop(next(iter(self._references)))
            self._references[key] = found
        return self._references[key]
