"""What TensorBoard shows besides the scalars: the recipe at the start, the classifier's results at the end."""

from __future__ import annotations

from typing import Any

import numpy as np

from lib.train.data import DataSet, Split
from lib.train.evaluation import Predictions, RunResult
from lib.train.recipe import Recipe
from lib.train.trackers.drawings import confusion_matrix, mistakes, weights_grid
from lib.train.trackers.values import Embeddings, Graph, HyperParameters, Picture, PrecisionRecall, Text
from lib.train.training import Classifier, Training

EMBEDDED, SPRITE = 1000, 32  # images in the projector, and the side of their sprites in pixels
CURVES = 30  # maximum number of classes with a precision-recall curve


def start_summaries(recipe: Recipe, data: DataSet, split: Split) -> dict[str, Any]:
    """Returns values for ``Tracker.log``: the recipe as a table, and the contents of the dataset."""
    rows = "\n".join(f"| {name} | {value} |" for name, value in recipe.as_dict().items())
    counts = f"{len(split.train)} to train, {len(split.val)} to validate, {len(split.test)} to test"
    description = f"{len(data.items)} pictures of {len(data.classes)} classes: {counts}.  \nFingerprint `{data.fingerprint}`"
    return {"recipe": Text(f"| | |\n|---|---|\n{rows}"), "data": Text(description)}


def result_summaries(
    classifier: Classifier, parts: dict[str, Predictions], training: Training, result: RunResult
) -> dict[str, Any]:
    """Returns values for ``Tracker.log``. The graph comes last, because tracing takes seconds."""
    classes, pictures = training.classes, training.pixels
    values: dict[str, Any] = {}
    for name, part in parts.items():
        values[f"confusion/{name}"] = Picture(confusion_matrix(part.confusion(), classes))
        wrong = part.mistakes()
        sheet = mistakes(
            [pictures[m.index] for m in wrong],
            [classes[m.label] for m in wrong],
            [classes[m.predicted] for m in wrong],
            [m.probability for m in wrong],
        )
        values[f"mistakes/{name}"] = Picture(sheet)
        values[f"accuracy/{name}_best"] = result.parts[name].accuracy
        for k, class_name in enumerate(classes[:CURVES]):
            scores = np.clip(part.probabilities[:, k], 0, 1)
            values[f"precision_recall_{name}/{class_name}"] = PrecisionRecall(part.labels == k, scores)
    values |= _embeddings(classifier, parts, training)
    kernels = classifier.first_layer()
    if kernels is not None and kernels.shape[-1] in (1, 3):
        values["first_layer"] = Picture(weights_grid(kernels.transpose(0, 3, 1, 2)))
    settings = {"data": training.fingerprint[:12], **training.recipe.as_dict()}
    values["hparams"] = HyperParameters(settings, {f"accuracy/{n}_best": p.accuracy for n, p in result.parts.items()})
    if network := getattr(classifier, "network", None):
        import torch

        size = training.recipe.image_size
        values["graph"] = Graph(network, torch.zeros(1, 3, size, size, device=getattr(classifier, "device", "cpu")))
    return values


def _embeddings(classifier: Classifier, parts: dict[str, Predictions], training: Training) -> dict[str, Any]:
    part = parts["validation"]
    indices = part.indices[:: max(1, -(-len(part.indices) // EMBEDDED))]
    if len(indices) < 3:
        return {}
    pictures = training.pixels[indices]
    step = max(1, pictures.shape[1] // SPRITE)
    sprites = np.ascontiguousarray(pictures[:, ::step, ::step][:, :SPRITE, :SPRITE])
    labels = [training.classes[training.labels[i]] for i in indices]
    return {"embeddings/validation": Embeddings(classifier.embeddings(pictures), labels, sprites)}
