"""Runs exported PyTorch programs (``.pt2``)."""

from __future__ import annotations

from pathlib import Path

from lib.convert.core.runner import Arrays
from lib.convert.formats.pt2 import files as pt2_files
from lib.errors import InvalidFile, JobFailed
from lib.model_inputs.signature import Signature


class Pt2Runner:
    """Runs ``model.pt2`` of an artifact folder; names and roles come from its ``names.json``, if it has one."""

    def __init__(self, folder: Path) -> None:
        if not (folder / pt2_files.NAME).is_file():
            raise InvalidFile(f"There is no {pt2_files.NAME} in this artifact.")
        program, self._signature = pt2_files.load(folder)
        self._module = program.module(check_guards=True)

    def signature(self) -> Signature:
        return self._signature

    def run(self, inputs: Arrays) -> Arrays:
        """Runs the program. Raises JobFailed if it rejects the inputs, e.g. sizes it was not exported for."""
        import torch

        from lib.convert.core.torch_values import from_numpy, to_numpy

        missing = [v.name for v in self._signature.inputs if v.name not in inputs]
        if missing:
            raise JobFailed(f"Missing inputs: {', '.join(missing)}.")
        tensors = [from_numpy(inputs[v.name]) for v in self._signature.inputs]
        try:
            with torch.no_grad():
                outputs = self._module(*tensors)
        except Exception as error:  # torch raises many kinds of errors, and guards raise AssertionError
            line = next((text.strip() for text in str(error).splitlines() if text.strip()), type(error).__name__)
            raise JobFailed(f"The exported program refuses these inputs: {line[:300]}") from None
        outputs = outputs if isinstance(outputs, tuple | list) else (outputs,)
        return {v.name: to_numpy(x) for v, x in zip(self._signature.outputs, outputs, strict=True)}

    def close(self) -> None:
        del self._module
