"""A network of a pipeline, as the pipeline calls it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lib.errors import JobFailed
from lib.model_inputs.signature import Value
from lib.onnx_model.words import clean

if TYPE_CHECKING:
    import torch


@dataclass(slots=True)
class Component:
    """A network with named inputs and outputs.

    ``module`` takes the inputs by position and returns a tuple. Spatial sizes must be multiples of ``multiple``.
    """

    name: str
    module: torch.nn.Module
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    multiple: int = 1
    usual: int = 64  # height and width of the latents it was trained on

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs the network on arrays by name. Raises JobFailed with torch's message."""
        import torch

        tensors = [torch.from_numpy(inputs[v.name]).clone() for v in self.inputs]  # a copy has torch's memory alignment
        try:
            with torch.inference_mode():
                results = self.module(*tensors)
        except (RuntimeError, ValueError, IndexError) as error:
            raise JobFailed(f"{self.name} refused these inputs: {clean(str(error))[:200]}") from None
        return {v.name: r.numpy() for v, r in zip(self.outputs, results, strict=True)}
