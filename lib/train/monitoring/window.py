"""Maintains a run's window of recent features and runs the drift tests on it. Serving processes only.

Stores the features of the last ``WINDOW`` images and one test per full window. The app reads ``drift.json`` only. Several
processes may serve a run; a lock serializes them.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lib.train.monitoring.drift import FIRST_WINDOW, WINDOW, ks, mmd
from lib.train.monitoring.drift_state import DriftState, DriftTest
from lib.train.monitoring.reference import DAMAGED, Reference
from lib.train.runs import read_json
from lib.train.schema import parse_fields, to_json

ARRAYS, DRIFT, LOCK = "window.npz", "drift.json", "window.lock"
EVERY = 25  # images between two tests of a window that is not full
LINES = 200  # tests of full windows to keep
MAX_BYTES = 1 << 20


def add(folder: Path, reference: Reference, inputs: np.ndarray, model: np.ndarray) -> None:
    """Add features of new images, projected with the bases of ``reference`` to float32 [n, d], and run the tests due.

    Does nothing if the run's folder is gone.
    """
    if not folder.is_dir():
        return
    with _locked(folder / LOCK):
        kept, state = _read(folder, reference)
        for features in zip(inputs, model, strict=True):
            kept = [np.concatenate([old, new[None]])[-WINDOW:] for old, new in zip(kept, features, strict=True)]
            state.seen += 1
            if state.seen % WINDOW == 0:
                state.now = _test(reference, *kept)
                state.windows = (*state.windows, state.now)[-LINES:]
            elif state.seen % EVERY == 0 and len(kept[0]) >= FIRST_WINDOW:
                state.now = _test(reference, *kept)
        _write(folder, kept, state)


def _test(reference: Reference, inputs: np.ndarray, model: np.ndarray) -> DriftTest:
    return DriftTest(
        at=round(time.time(), 1),
        n=len(inputs),
        inputs=round(mmd(reference.inputs, inputs), 6),
        model=round(ks(reference.model, model), 6),
    )


def read_state(folder: Path) -> DriftState:
    """Returns the drift state from a run's ``watch/``. Invalid fields get their defaults."""
    values = read_json(folder / DRIFT, MAX_BYTES)
    return parse_fields(DriftState, values) if isinstance(values, dict) else DriftState()


def _read(folder: Path, reference: Reference) -> tuple[list[np.ndarray], DriftState]:
    """Returns the stored features and state, or empty ones if there are none or they belong to another reference."""
    state = read_state(folder)
    if state.reference == reference.id:
        try:
            with np.load(folder / ARRAYS, allow_pickle=False) as file:
                kept = [file[kind].astype(np.float32) for kind in ("inputs", "model")]
            if [old.shape[1:] for old in kept] == [new.shape[1:] for new in (reference.inputs, reference.model)]:
                return kept, state
        except DAMAGED:
            pass
    return [kind[:0] for kind in (reference.inputs, reference.model)], DriftState(reference=reference.id)


def _write(folder: Path, kept: list[np.ndarray], state: DriftState) -> None:
    arrays, state_file = folder / f".{secrets.token_hex(4)}.npz", folder / f".{secrets.token_hex(4)}.json"
    try:
        np.savez(arrays, inputs=kept[0].astype(np.float16), model=kept[1].astype(np.float16))
        state_file.write_text(json.dumps(to_json(state), allow_nan=False))
        arrays.replace(folder / ARRAYS)
        state_file.replace(folder / DRIFT)
    finally:
        arrays.unlink(missing_ok=True)
        state_file.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
