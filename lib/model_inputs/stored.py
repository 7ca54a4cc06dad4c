"""Samples on disk, as jobs hand them on: one plain .npz and a .json beside. No pickles."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from lib.errors import InvalidFile
from lib.model_inputs.preprocessing import Preprocessing
from lib.model_inputs.signature import NARROW, dtype

ARRAYS, ABOUT = "samples.npz", "samples.json"
Row = dict[str, np.ndarray]


@dataclass(slots=True)
class Samples:
    """``rows``: one dict a sample, arrays by the model's input names, as the model takes them; the leading axis is 1
    where the model's first dimension is free or 1. ``labels`` are numbers of ``classes``, one a row, or None.

    ``kind``: arrays, pictures, wave or text. ``messages`` say what was guessed and what was left out.
    """

    rows: list[Row]
    labels: list[int] | None = None
    classes: list[str] = field(default_factory=list)
    kind: str = "arrays"
    preprocessing: Preprocessing | None = None
    messages: list[str] = field(default_factory=list)


def save(samples: Samples, folder: Path) -> None:
    """Writes the two files; the folder is made. Rows of one shape are stacked, so that thousands stay a few arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(samples.rows[0]) if samples.rows else []
    plain: dict[str, np.ndarray] = {}
    kinds = []
    for number, name in enumerate(names):
        column = [row[name] for row in samples.rows]
        kinds.append(str(column[0].dtype) if not column[0].dtype.hasobject else "str")
        flat = [_plain(value) for value in column]
        if len({value.shape for value in flat}) == 1:
            plain[f"{number}"] = np.stack(flat)
        else:
            plain |= {f"{number}_{k}": value for k, value in enumerate(flat)}
    np.savez(folder / ARRAYS, **plain)
    about = {
        "inputs": [[name, kind] for name, kind in zip(names, kinds, strict=True)],
        "count": len(samples.rows),
        "labels": samples.labels,
        "classes": samples.classes,
        "kind": samples.kind,
        "preprocessing": samples.preprocessing.as_dict() if samples.preprocessing else None,
        "messages": samples.messages,
    }
    (folder / ABOUT).write_text(json.dumps(about))


def load(folder: Path) -> Samples:
    """What ``save`` wrote. Raises InvalidFile where that is not there or does not hold together."""
    try:
        about = json.loads((folder / ABOUT).read_text())
        rows: list[dict[str, np.ndarray]] = [{} for _ in range(about["count"])]
        with np.load(folder / ARRAYS, allow_pickle=False) as held:
            for number, (name, kind) in enumerate(about["inputs"]):
                stacked = held[f"{number}"] if f"{number}" in held.files else None
                for k, row in enumerate(rows):
                    row[name] = _typed(held[f"{number}_{k}"] if stacked is None else stacked[k], kind)
        chosen = about["preprocessing"]
        return Samples(
            rows,
            about["labels"],
            about["classes"],
            about["kind"],
            Preprocessing.from_dict(chosen) if chosen else None,
            about["messages"],
        )
    except (OSError, ValueError, KeyError, TypeError, BadZipFile):
        raise InvalidFile("The stored samples are missing or inconsistent. Send them again.") from None


def _plain(value: np.ndarray) -> np.ndarray:
    """numpy's file format knows neither objects nor ml_dtypes."""
    if value.dtype.hasobject:
        return value.astype(str)
    return value.view(f"u{value.dtype.itemsize}") if str(value.dtype) in NARROW else value


def _typed(value: np.ndarray, kind: str) -> np.ndarray:
    if kind == "str":
        return value.astype(object)
    return value.view(dtype(kind)) if kind in NARROW else value
