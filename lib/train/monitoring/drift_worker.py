"""Computes drift features of served images in the serving process, while no request waits for an answer.

Pending images are kept in memory, at most ``MAX_WAITING`` per run; under sustained load, a uniform random sample is kept.
Images are never written to disk.
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

MAX_WAITING = 128  # pending images per run
AT_ONCE = 16  # images per batch, between two checks for requests
PATIENCE = 5.0  # seconds after which pending images are processed even if requests wait
REFERENCES = 4  # cached references
Pair = tuple[np.ndarray, np.ndarray]  # an image resized to SIDE and to the run's own size, both uint8


class DriftWorker:
    """``add`` queues classified images and ``work`` processes a batch; ``waiting`` and ``late`` tell whether it is due."""

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
        """Queue images of a run. Does nothing while the run has no reference."""
        if not some or not (Path(run) / FOLDER / ABOUT).is_file():
            return
        if not self._waiting:
            self._since = time.monotonic()
        queue = self._waiting.setdefault(run, [])
        for pair in some:
            self._seen[run] = seen = self._seen.get(run, 0) + 1
            place = len(queue) if len(queue) < MAX_WAITING else random.randrange(seen)  # reservoir sampling (Vitter 1985)
            if place < MAX_WAITING:
                queue[place : place + 1] = [pair]

    def work(self) -> None:
        """Process up to ``AT_ONCE`` images of one run. Errors discard the batch and never affect an answer."""
        run, queue = next(iter(self._waiting.items()))
        batch, rest = queue[:AT_ONCE], queue[AT_ONCE:]
        if rest:
            self._waiting[run] = rest
        else:
            del self._waiting[run], self._seen[run]
        self._since = time.monotonic()
        with suppress(Exception):  # the run was deleted or retrained, or its files changed
            network = self._networks.get(run)
            if (reference := self._reference(run, network)) is None:
                return
            self._features = self._features or ImageNetFeatures()
            small, full_size = (np.stack(kind) for kind in zip(*batch, strict=True))
            inputs = reference.inputs_basis(self._features(small))
            model = reference.model_basis(network.classifier.embeddings(full_size))
            window.add(Path(run) / FOLDER, reference, inputs, model)

    def _reference(self, run: str, network: LoadedRun) -> Reference | None:
        """Returns the cached reference, or None if it belongs to other weights or code. A damaged one is deleted."""
        folder = Path(run) / FOLDER
        key = run, (folder / ABOUT).stat().st_mtime_ns
        if key not in self._references:
            info = read_info(folder)
            if info is None or info.weights != network.stamp:
                return None  # the app will have it rebuilt
            reference = Reference.load(folder)
            if reference is None or reference.id != info.id:
                if (folder / ABOUT).stat().st_mtime_ns == key[1]:
                    (folder / ABOUT).unlink()  # the next request has it rebuilt
                return None
            while len(self._references) >= REFERENCES:
                self._references.pop(next(iter(self._references)))
            self._references[key] = reference
        return self._references[key]
