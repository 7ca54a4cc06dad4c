"""Stores every evaluated image in one JSON file: name, prediction and thumbnail.

The app reads only this file, so its own process opens none of a run's images or arrays.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np

from lib.train.data import DataSet
from lib.train.evaluation import EvaluatedPart, EvaluatedPicture, Evaluation, Predictions
from lib.train.pictures import thumbnail
from lib.train.runs import EVALUATION
from lib.train.schema import to_json

SIDE = 72  # longest side of a thumbnail in pixels
MAX_THUMBNAILS = 600  # in total: mistakes first, then a sample of the correct ones


def write(folder: Path, data: DataSet, parts: dict[str, Predictions], pixels: np.ndarray) -> None:
    """Write ``folder/evaluation.json``, an ``Evaluation`` with up to ``MAX_THUMBNAILS`` thumbnails."""
    evaluated = {name: _part(part, data, pixels, MAX_THUMBNAILS // len(parts)) for name, part in parts.items()}
    unfinished = folder / f"{EVALUATION}.part"
    unfinished.write_text(json.dumps(to_json(Evaluation(classes=list(data.classes), parts=evaluated))))
    unfinished.replace(folder / EVALUATION)


def _part(part: Predictions, data: DataSet, pixels: np.ndarray, thumbnails: int) -> EvaluatedPart:
    confidence = part.probabilities.max(axis=1)
    ranks = np.lexsort((-confidence, part.right))
    wrong = int((~part.right).sum())
    # sample the correct ones evenly: they are sorted by confidence only
    drawn = set(range(min(wrong, thumbnails)))
    rest = min(thumbnails - len(drawn), len(ranks) - wrong)
    drawn |= set(np.linspace(wrong, len(ranks) - 1, rest).astype(int).tolist())
    return EvaluatedPart(
        confusion=part.confusion().tolist(),
        pictures=[_picture(part, data, pixels, int(position), rank in drawn) for rank, position in enumerate(ranks)],
    )


def _picture(part: Predictions, data: DataSet, pixels: np.ndarray, at: int, drawn: bool) -> EvaluatedPicture:
    index = int(part.indices[at])
    item = data.items[index]
    return EvaluatedPicture(
        name=item.path[-120:],
        sha256=item.sha256[:16],
        label=int(part.labels[at]),
        predicted=int(part.predicted[at]),
        probability=round(float(part.probabilities[at].max()), 4),
        thumb=base64.b64encode(thumbnail(np.asarray(pixels[index]), SIDE)).decode() if drawn else None,
    )
