"""Runs the Python module written by ``pt2_to_torch_module`` in the same conversion. Never receives an upload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lib.convert.core.runner import Arrays
from lib.errors import InvalidFile, JobFailed
from lib.model_inputs.signature import Signature


class TorchModuleRunner:
    """Runs ``model.py`` of an artifact folder with ``model.safetensors`` and ``signature.json``.

    The source is checked before it is executed: code that does more than define a module of tensor operators is
    refused.
    """

    def __init__(self, folder: Path) -> None:
        from safetensors.torch import load_file

        from lib.convert.formats.torch_module.source_code import check_source

        names = ("model.py", "model.safetensors", "signature.json")
        if missing := [n for n in names if not (folder / n).is_file()]:
            raise InvalidFile(f"The module lacks {', '.join(missing)}.")
        text = (folder / "model.py").read_text(encoding="utf-8")
        try:
            check_source(text)
        except SyntaxError:
            raise InvalidFile("model.py is not valid Python.") from None
        self._signature = Signature.from_dict(json.loads((folder / "signature.json").read_text(encoding="utf-8")))
        scope: dict[str, Any] = {"__name__": "model"}
        exec(compile(text, "model.py", "exec"), scope)
        self._module = scope["Model"]().eval()
        self._module.load_state_dict(load_file(folder / "model.safetensors"))

    def signature(self) -> Signature:
        return self._signature

    def run(self, inputs: Arrays) -> Arrays:
        """Runs the module. Raises JobFailed for missing inputs or inputs it rejects."""
        import torch

        from lib.convert.core.torch_values import from_numpy, to_numpy

        missing = [v.name for v in self._signature.inputs if v.name not in inputs]
        if missing:
            raise JobFailed(f"Missing inputs: {', '.join(missing)}.")
        try:
            with torch.no_grad():
                outputs = self._module(*(from_numpy(inputs[v.name]) for v in self._signature.inputs))
        except Exception as error:  # torch raises many kinds of errors
            line = next((text.strip() for text in str(error).splitlines() if text.strip()), type(error).__name__)
            raise JobFailed(f"The module refuses these inputs: {line[:300]}") from None
        return {v.name: to_numpy(x) for v, x in zip(self._signature.outputs, outputs, strict=True)}

    def close(self) -> None:
        del self._module
