"""Emulates float16 weights or int8 for TensorFlow Lite: rounds the source's constants and activations.

Rounded constants overwrite the source's bytes. Activations are rounded by a QUANTIZE/DEQUANTIZE pair after their tensor:
with the file's own scale if its range is calibrated, else with the step size measured on these inputs.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lib.convert.emulation import tflite_activations, tflite_weights
from lib.convert.emulation.draws import Arrays, Emulation, run_draws
from lib.convert.emulation.tflite_activations import Step
from lib.convert.formats.tflite.runner import TfliteRunner
from lib.tflite import file as tflite_file


def fill(found: Emulation, source: Path, target: Path, inputs: list[Arrays], seed: int, draws: int) -> None:
    """Fills ``found`` for the TensorFlow Lite artifact ``target``. Raises like ``emulated.emulated``, and JobFailed."""
    model, file = (tflite_file.read(folder / tflite_file.NAME) for folder in (source, target))
    stored = tflite_weights.match_weights(model, file, found)
    steps, complaints = tflite_activations.steps(source, model, file, inputs)
    found.weights += complaints
    run_draws(found, lambda rng: _run(source, model, stored, steps, inputs, rng), seed, draws)


class _RunnerWithoutXnnpack(TfliteRunner):
    """Runs LiteRT's own kernels, since XNNPACK occasionally gives other results for QUANTIZE/DEQUANTIZE pairs."""

    def __init__(self, folder: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        super().__init__(folder)
        self._interpreter = Interpreter(
            model_path=str(folder / tflite_file.NAME),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )


def _run(
    source: Path,
    model: dict[str, Any],
    stored: list[tflite_weights.StoredWeight],
    steps: dict[int, Step],
    inputs: list[Arrays],
    rng: np.random.Generator | None,
) -> list[Arrays]:
    data = bytearray(model["whole"])
    start = np.frombuffer(model["whole"], np.uint8).__array_interface__["data"][0]
    for weight in stored:
        offset = weight.values.__array_interface__["data"][0] - start
        data[offset : offset + weight.values.nbytes] = weight.rounded(rng).astype("<f4").tobytes()
    file_bytes = tflite_activations.with_rounding(bytes(data), steps, rng) if steps else bytes(data)
    with tempfile.TemporaryDirectory() as folder:
        for path in source.iterdir():  # for example, the file that names the chosen signature
            if path.is_file() and path.name != tflite_file.NAME:
                shutil.copy(path, folder)
        (Path(folder) / tflite_file.NAME).write_bytes(file_bytes)
        runner = _RunnerWithoutXnnpack(Path(folder))
        try:
            return [runner.run(arrays) for arrays in inputs]
        finally:
            runner.close()
