"""Runs a PyTorch architecture in eval mode, as the reference for everything converted from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib.convert.core.runner import Arrays
from lib.errors import InvalidFile, JobFailed
from lib.model_inputs.signature import Signature


class ArchitectureRunner:
    """Runs an artifact written by ``architectures.prepare``. Nested outputs are returned as named arrays.

    A detection model takes one image and returns boxes, labels and scores, one row per detection, best first.
    """

    def __init__(self, folder: Path) -> None:
        from lib.convert.formats.pytorch import architectures

        if not (folder / architectures.DESCRIPTION).is_file():
            raise InvalidFile("There is no architecture in this folder.")
        self._flat, self._signature = architectures.load(folder)

    def signature(self) -> Signature:
        return self._signature

    def run(self, inputs: Arrays) -> Arrays:
        """Runs the model. Raises JobFailed if it rejects the inputs."""
        import torch

        missing = [v.name for v in self._signature.inputs if v.name not in inputs]
        if missing:
            raise JobFailed(f"Missing inputs: {', '.join(missing)}.")
        tensors = [torch.from_numpy(np.ascontiguousarray(inputs[v.name])) for v in self._signature.inputs]
        try:
            with torch.inference_mode():
                outputs = self._flat(*tensors)
        except (RuntimeError, ValueError, IndexError, TypeError, AssertionError, KeyError, NotImplementedError) as error:
            raise JobFailed(
                f"The model refuses these inputs: {str(error).splitlines()[0] if str(error) else error!r}"
            ) from error
        return {v.name: tensor.numpy() for v, tensor in zip(self._signature.outputs, outputs, strict=True)}

    def close(self) -> None:
        del self._flat
