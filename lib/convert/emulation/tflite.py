"""Emulates float16 weights or int8 for TensorFlow Lite: rounds the source's constants and activations.

Constants overwrite the source's bytes. Activations are rounded by a QUANTIZE and a DEQUANTIZE after their tensor: with
the file's own scale if its range is calibrated, else with the step of this tensor's rows on these inputs.
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
    """Raises as ``emulation.emulated``, and JobFailed."""
    model, file = (tflite_file.read(folder / tflite_file.NAME) for folder in (source, target))
    stored = tflite_weights.match_weights(model, file, found)
    steps, complaints = tflite_activations.steps(source, model, file, inputs)
    found.weights += complaints
    run_draws(found, lambda rng: _run(source, model, stored, steps, inputs, rng), seed, draws)


class _RunnerWithoutXnnpack(TfliteRunner):
    """LiteRT's own kernels: XNNPACK's give now and then another answer to pairs of QUANTIZE and DEQUANTIZE."""

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
    whole = bytearray(model["whole"])
    start = np.frombuffer(model["whole"], np.uint8).__array_interface__["data"][0]
    for one in stored:
        at = one.values.__array_interface__["data"][0] - start
        whole[at : at + one.values.nbytes] = one.rounded(rng).astype("<f4").tobytes()
    made = tflite_activations.with_rounding(bytes(whole), steps, rng) if steps else bytes(whole)
    with tempfile.TemporaryDirectory() as folder:
        for path in source.iterdir():  # which signature was chosen, for one
            if path.is_file() and path.name != tflite_file.NAME:
                shutil.copy(path, folder)
        (Path(folder) / tflite_file.NAME).write_bytes(made)
        runner = _RunnerWithoutXnnpack(Path(folder))
        try:
            return [runner.run(some) for some in inputs]
        finally:
            runner.close()
