"""A diffusers folder: each network by name, ``unet.sample`` in, ``unet.noise`` out. Knows no scheduler, makes no picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib.convert.formats.diffusers.component import Component
from lib.convert.formats.diffusers.components import load_components, prefixed
from lib.model_inputs.signature import Signature


class PartsRunner:
    """Runs parts that are loaded already."""

    def __init__(self, parts: list[Component]) -> None:
        self._parts = parts

    def signature(self) -> Signature:
        return prefixed(self._parts)

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        out = {}
        for part in self._parts:
            own = {v.name: inputs[f"{part.name}.{v.name}"] for v in part.inputs}
            out |= {f"{part.name}.{name}": value for name, value in part.run(own).items()}
        return out

    def close(self) -> None:
        self._parts = []


class DiffusersRunner(PartsRunner):
    """float32 on the CPU, whatever dtype the weights are stored in."""

    def __init__(self, folder: Path) -> None:
        super().__init__(load_components(folder))
