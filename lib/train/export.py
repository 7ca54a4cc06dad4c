"""A run as ONNX: pixels in, probabilities out, normalization inside, the classes' names in the metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lib.errors import JobFailed
from lib.train.frameworks import framework
from lib.train.recipe import Recipe
from lib.train.runs import Run

OPSET = 20


def to_onnx(run: Run, path: Path, backbones: tuple[str, ...] = ()) -> dict[str, Any]:
    """Writes ``path``: ``pixels`` float32 [batch, 3, size, size], RGB 0 to 255; ``probabilities`` float32 [batch, classes].

    Raises JobFailed for a Keras run (the converter takes its .keras file) and where there are no weights.
    """
    import onnx
    import torch

    record = run.read()
    recipe, classes = Recipe.parse(record["recipe"]), tuple(record.get("classes") or ())
    if recipe.framework != "pytorch":
        raise JobFailed("Only runs of framework pytorch are exported to ONNX here.")
    if not classes:
        raise JobFailed("This run has no weights: it ended before its first epoch did.")
    classifier: Any = framework(recipe.framework).load(recipe, classes, run.folder, backbones)

    class Probabilities(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = classifier.network.cpu()

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.network(pixels).softmax(dim=1)

    example = torch.zeros(2, 3, recipe.image_size, recipe.image_size)
    program = torch.onnx.export(
        Probabilities().eval(),
        (example,),
        dynamo=True,
        opset_version=OPSET,
        input_names=["pixels"],
        output_names=["probabilities"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    model = program.model_proto
    notes = {"labels": json.dumps(classes), "run": run.id, "name": record.get("name", ""), "input": "RGB, 0 to 255"}
    onnx.helper.set_model_props(model, notes)
    onnx.save(model, path)
    return {"bytes": path.stat().st_size, "classes": list(classes), "image_size": recipe.image_size, "opset": OPSET}
