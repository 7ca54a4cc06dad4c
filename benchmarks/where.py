"""Profiles the engine's thread: seconds per kind of work, measured by wrapping the functions that do it."""

from __future__ import annotations

import functools
import time
from collections import Counter
from typing import Any

from lib.text_to_image import group
from lib.text_to_image.batch import Batch
from lib.text_to_image.predict import Predictor
from lib.text_to_image.row import Row

PLACES: tuple[tuple[Any, str, str], ...] = (
    (Predictor, "_call", "UNet"),
    (Row, "advance", "schedulers"),
    (Row, "scale_model_input", "schedulers"),
    (Batch, "decode", "VAE and pictures"),
    (Batch, "previews", "previews"),
    (Batch, "join", "text and first noise"),
    (group, "finish", "notes, checker"),
)


class Where:
    """Measures the seconds and calls of the functions in ``PLACES``.

    Wraps them permanently, so create only one per process. Other time (hand-over, guidance, waiting) is the rest.
    """

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._on, self._began, self._whole = False, 0.0, 0.0
        for owner, name, label in PLACES:
            setattr(owner, name, self._timed(getattr(owner, name), label))

    def _timed(self, act: Any, label: str) -> Any:
        @functools.wraps(act)
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return act(*args, **kwargs)
            finally:
                if self._on:
                    self.seconds[label] += time.perf_counter() - began
                    self.calls[label] += 1

        return timed

    def begin(self) -> None:
        self._on, self._began = True, time.perf_counter()

    def end(self) -> None:
        self._on = False
        self._whole += time.perf_counter() - self._began

    def table(self) -> str:
        rows = ["| the engine's thread | share | ms a call |", "|---|---|---|"]
        for label, spent in self.seconds.most_common():
            rows.append(f"| {label} | {spent / self._whole:.1%} | {1000 * spent / self.calls[label]:.2f} |")
        rest = 1 - self.seconds.total() / self._whole if self._whole else 0.0
        return "\n".join([*rows, f"| the rest: hand-over, guidance, waiting | {rest:.1%} | |"])
