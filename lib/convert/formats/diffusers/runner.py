"""Runs the networks of a diffusers folder separately, with names such as ``unet.sample`` and ``unet.noise``.

Involves no scheduler and generates no image.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib.convert.formats.diffusers.component import Component
from lib.convert.formats.diffusers.components import load_components, prefixed
from lib.model_inputs.signature import Signature


class PartsRunner:
    """Runs already loaded parts."""

    def __init__(self, parts: list[Component]) -> None:
        self._parts = parts

    def signature(self) -> Signature:
        return prefixed(self._parts)

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs every part on its inputs. Raises JobFailed."""
        outputs = {}
        for part in self._parts:
            part_inputs = {v.name: inputs[f"{part.name}.{v.name}"] for v in part.inputs}
            outputs |= {f"{part.name}.{name}": value for name, value in part.run(part_inputs).items()}
        return outputs

    def close(self) -> None:
        self._parts = []


class DiffusersRunner(PartsRunner):
    """Runs in float32 on the CPU, whatever the dtype of the stored weights."""

    def __init__(self, folder: Path) -> None:
        super().__init__(load_components(folder))
