"""Runs a PyTorch architecture in eval mode: the source that every file made from it is compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib.convert.core.runner import Arrays
from lib.errors import InvalidFile, JobFailed
from lib.model_inputs.signature import Signature


class ArchitectureRunner:
    """``folder`` holds what ``architectures.prepare`` wrote. A model's dicts and tuples come out as named arrays.

    A detection model takes one picture; its boxes, labels and scores have one row a detection, best first.
    """

    def __init__(self, folder: Path) -> None:
        from lib.convert.formats.pytorch import architectures

        if not (folder / architectures.DESCRIPTION).is_file():
            raise InvalidFile("There is no architecture in this folder.")
        self._flat, self._signature = architectures.load(folder)

    def signature(self) -> Signature:
        return self._signature

    def run(self, inputs: Arrays) -> Arrays:
        """Raises JobFailed where the model refuses these inputs."""
        import torch

        missing = [v.name for v in self._signature.inputs if v.name not in inputs]
        if missing:
            raise JobFailed(f"The model did not get its inputs: {', '.join(missing)}.")
        given = [torch.from_numpy(np.ascontiguousarray(inputs[v.name])) for v in self._signature.inputs]
        try:
            with torch.inference_mode():
                outputs = self._flat(*given)
        except (RuntimeError, ValueError, IndexError, TypeError, AssertionError, KeyError, NotImplementedError) as error:
            raise JobFailed(
                f"The model refuses these inputs: {str(error).splitlines()[0] if str(error) else error!r}"
            ) from error
        return {v.name: tensor.numpy() for v, tensor in zip(self._signature.outputs, outputs, strict=True)}

    def close(self) -> None:
        del self._flat
