"""Every evaluated picture in one JSON file: what it is, what it was taken for, and a thumbnail. The page reads this file,
so the app's own process opens no picture and no array of a run."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from lib.train.data import DataSet
from lib.train.evaluation import Predictions
from lib.train.pictures import thumbnail
from lib.train.runs import EVALUATION

SIDE = 72  # pixels of a thumbnail
MOST = 600  # thumbnails in all: the wrong ones first, then some of the right ones


def write(folder: Path, data: DataSet, parts: dict[str, Predictions], pixels: np.ndarray) -> None:
    """``folder/evaluation.json``: ``classes`` and, by part, ``confusion`` and ``pictures``, the surest mistakes first.

    A picture is ``name``, ``sha256`` (16 digits), ``label``, ``predicted``, ``probability`` and, for up to ``MOST``,
    ``thumb``, a JPEG in base64.
    """
    found: dict[str, Any] = {"classes": list(data.classes), "parts": {}}
    for name, part in parts.items():
        sure = part.probabilities.max(axis=1)
        ranks = np.lexsort((-sure, part.right))
        wrong = int((~part.right).sum())
        # spread over the right ones: they are grouped by nothing but their certainty
        drawn = set(range(min(wrong, MOST // len(parts))))
        rest = min(MOST // len(parts) - len(drawn), len(ranks) - wrong)
        drawn |= set(np.linspace(wrong, len(ranks) - 1, rest).astype(int).tolist())
        found["parts"][name] = {
            "confusion": part.confusion().tolist(),
            "pictures": [_picture(part, data, pixels, int(at), place in drawn) for place, at in enumerate(ranks)],
        }
    unfinished = folder / f"{EVALUATION}.part"
    unfinished.write_text(json.dumps(found))
    unfinished.replace(folder / EVALUATION)


def _picture(part: Predictions, data: DataSet, pixels: np.ndarray, at: int, drawn: bool) -> dict[str, Any]:
    index = int(part.indices[at])
    item = data.items[index]
    found = {
        "name": item.path[-120:],
        "sha256": item.sha256[:16],
        "label": int(part.labels[at]),
        "predicted": int(part.predicted[at]),
        "probability": round(float(part.probabilities[at].max()), 4),
    }
    if drawn:
        found["thumb"] = base64.b64encode(thumbnail(np.asarray(pixels[index]), SIDE)).decode()
    return found
