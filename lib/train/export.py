"""Exports a run to ONNX: pixels in, probabilities out, normalization included, class names in the metadata."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.errors import JobFailed
from lib.train.frameworks import framework
from lib.train.recipe import Recipe
from lib.train.runs import Run

OPSET = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFile:
    """``bytes`` is the file size. ``classes`` are in output order; ``image_size`` is in pixels per side."""

    bytes: int
    classes: list[str]
    image_size: int
    opset: int


def to_onnx(run: Run, path: Path, backbones: tuple[str, ...] = ()) -> OnnxFile:
    """Write the run as ONNX to ``path``: ``pixels``, RGB 0 to 255, to ``probabilities``, float32 [batch, classes].

    ``pixels`` is float32 [batch, 3, size, size] for a PyTorch run, uint8 [batch, size, size, 3] for a Keras run. Raises
    JobFailed if the run has no weights.
    """
    import onnx

    record = run.record()
    recipe, classes = record.parsed_recipe(), record.classes
    if not classes:
        raise JobFailed("This run has no weights: it ended before completing an epoch.")
    write = _keras if recipe.framework == "keras" else _torch
    model = write(recipe, classes, run.folder, backbones)
    notes = {"labels": json.dumps(classes), "run": run.id, "name": record.name, "input": "RGB, 0 to 255"}
    onnx.helper.set_model_props(model, notes)
    onnx.save(model, path)
    return OnnxFile(
        bytes=path.stat().st_size, classes=list(classes), image_size=recipe.image_size, opset=model.opset_import[0].version
    )


def _torch(recipe: Recipe, classes: tuple[str, ...], folder: Path, backbones: tuple[str, ...]) -> Any:
    import torch

    classifier: Any = framework("pytorch").load(recipe, classes, folder, backbones)

    class Probabilities(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = classifier.network.cpu()

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.network(pixels).softmax(dim=1)

    program = torch.onnx.export(
        Probabilities().eval(),
        (torch.zeros(2, 3, recipe.image_size, recipe.image_size),),
        dynamo=True,
        opset_version=OPSET,
        input_names=["pixels"],
        output_names=["probabilities"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    return program.model_proto


def _keras(recipe: Recipe, classes: tuple[str, ...], folder: Path, backbones: tuple[str, ...]) -> Any:
    from lib.train.keras_training import to_keras

    with tempfile.TemporaryDirectory() as work:
        keras_file = Path(work) / "model.keras"
        to_keras(recipe, classes, folder, keras_file, backbones)
        import keras
        import numpy as np
        import onnx

        network = keras.models.load_model(keras_file, compile=False, safe_mode=True)
        # Keras only exports models that have been called
        network(np.zeros((1, recipe.image_size, recipe.image_size, 3), np.uint8))
        network.export(str(Path(work) / "model.onnx"), format="onnx", verbose=False)
        model = onnx.load(Path(work) / "model.onnx")
    _rename(model.graph, {model.graph.input[0].name: "pixels", model.graph.output[0].name: "probabilities"})
    return model


def _rename(graph: Any, names: dict[str, str]) -> None:
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        for field in (node.input, node.output):
            field[:] = [names.get(name, name) for name in field]
