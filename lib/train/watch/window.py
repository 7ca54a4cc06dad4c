"""The last served pictures' features of a run, and what the two tests say of them. In the serving processes only.

Kept are features of the last ``WINDOW`` pictures and a line for each whole window. The app reads ``drift.json`` and nothing
else. Several processes may serve a run: a lock keeps them apart.
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
from typing import Any

import numpy as np

from lib.train.runs import read_json
from lib.train.watch.drift import LEAST, WINDOW, ks, mmd
from lib.train.watch.reference import DAMAGED, Reference

ARRAYS, DRIFT, LOCK = "window.npz", "drift.json", "window.lock"
EVERY = 25  # pictures between two looks at a window that is not whole
LINES = 200  # whole windows that are remembered
MAX_BYTES = 1 << 20


def add(folder: Path, reference: Reference, inputs: np.ndarray, model: np.ndarray) -> None:
    """Takes in features of new pictures, as the bases of ``reference`` give them: float32 [n, d]; tests what is due.

    Does nothing where the run's folder is gone.
    """
    if not folder.is_dir():
        return
    with _locked(folder / LOCK):
        kept, said = _read(folder, reference)
        for one in zip(inputs, model, strict=True):
            kept = [np.concatenate([old, new[None]])[-WINDOW:] for old, new in zip(kept, one, strict=True)]
            said["seen"] += 1
            if said["seen"] % WINDOW == 0:
                said["now"] = _tested(reference, *kept)
                said["windows"] = [*said["windows"], said["now"]][-LINES:]
            elif said["seen"] % EVERY == 0 and len(kept[0]) >= LEAST:
                said["now"] = _tested(reference, *kept)
        _write(folder, reference, kept, said)


def _tested(reference: Reference, inputs: np.ndarray, model: np.ndarray) -> dict[str, Any]:
    return {
        "at": round(time.time(), 1),
        "n": len(inputs),
        "inputs": round(mmd(reference.inputs, inputs), 6),
        "model": round(ks(reference.model, model), 6),
    }


def _read(folder: Path, reference: Reference) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Nothing but zeros where there is nothing yet, or it belongs to another reference."""
    said = read_json(folder / DRIFT, MAX_BYTES)
    if isinstance(said, dict) and said.get("reference") == reference.id:
        try:
            with np.load(folder / ARRAYS, allow_pickle=False) as file:
                kept = [file[kind].astype(np.float32) for kind in ("inputs", "model")]
            fit = [old.shape[1:] for old in kept] == [new.shape[1:] for new in (reference.inputs, reference.model)]
            if fit and isinstance(said["seen"], int) and isinstance(said["windows"], list):
                return kept, said
        except DAMAGED:
            pass
    empty = [kind[:0] for kind in (reference.inputs, reference.model)]
    return empty, {"reference": reference.id, "seen": 0, "now": None, "windows": []}


def _write(folder: Path, reference: Reference, kept: list[np.ndarray], said: dict[str, Any]) -> None:
    arrays, words = folder / f".{secrets.token_hex(4)}.npz", folder / f".{secrets.token_hex(4)}.json"
    try:
        np.savez(arrays, inputs=kept[0].astype(np.float16), model=kept[1].astype(np.float16))
        words.write_text(json.dumps(said, allow_nan=False))
        arrays.replace(folder / ARRAYS)
        words.replace(folder / DRIFT)
    finally:
        arrays.unlink(missing_ok=True)
        words.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
