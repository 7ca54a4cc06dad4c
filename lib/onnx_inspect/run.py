"""Run a model in onnxruntime and in onnx's ReferenceEvaluator, compare the outputs, and time onnxruntime.

onnxruntime opens the uploaded file, copied next to its external data if it has any. Nothing is rewritten.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.errors import InvalidFile, InvalidValue
from lib.onnx_inspect import dynamic, feeds, runtimes
from lib.onnx_inspect.feeds import RunInputs
from lib.onnx_inspect.samples import SamplesFile, first_sample
from lib.onnx_model import functions
from lib.onnx_model.open import Model
from lib.onnx_model.wire import MARK
from lib.reports.difference import difference
from lib.reports.outputs import described, save

MAX_RUNS = 1000
Report = Callable[..., None]


def run(
    model: Model,
    inputs: Path | dict[str, Any] | SamplesFile | None,
    seed: int,
    runs: int,
    symbols: dict[str, int],
    folder: Path,
    progress: Report,
) -> dict[str, Any]:
    """Return the result of ``/run_onnx`` and write ``inputs``, ``outputs`` and ``reference`` as .npz into ``folder``.

    ``inputs``: an .npz with whole arrays, typed lists by name, a file of samples, or None for random inputs.
    ``symbols``: sizes of dynamic dimensions. The others get plausible sizes, or sizes that onnxruntime accepts if it
    rejects those. ``outputs`` are onnxruntime's, or the reference evaluator's if onnxruntime fails.

    Raises InvalidValue or InvalidFile for invalid arguments. An error of a runtime is returned as its ``error``.
    """
    if not 1 <= runs <= MAX_RUNS:
        raise InvalidValue("runs", runs, f"a whole number from 1 to {MAX_RUNS}")
    if not 0 <= seed < 2**32:
        raise InvalidValue("seed", seed, "a whole number from 0 to 4294967295")
    _refuse(model)
    path = _beside_its_data(model, folder)
    progress("Opening it in onnxruntime", 0.05)
    runner = runtimes.Runner(path)
    run_inputs = _inputs(model, inputs, seed, symbols, runner)
    progress("Running in onnxruntime", 0.1)
    ort_report, outputs = runner.run(run_inputs.values, runs, folder, progress, model.proto)
    progress("Running in the reference evaluator", 0.7)
    reference, expected = runtimes.reference(path, run_inputs.values)
    names = [v.name for v in model.proto.graph.output]
    shown = outputs if outputs is not None else expected
    result = {
        "seed": None if inputs else seed,
        "symbols": run_inputs.sizes,
        "sizes": run_inputs.sizes,
        "sizes_note": run_inputs.note,
        "samples": run_inputs.samples,
        "inputs": feeds.described(run_inputs.values),
        "outputs": [] if shown is None else [described(n, v) for n, v in zip(names, shown, strict=False)],
        "onnxruntime": ort_report,
        "reference": reference,
        "differences": [],
        "agree": None,
    }
    if outputs is not None and expected is not None:
        result["differences"] = [difference(n, a, b) for n, a, b in zip(names, outputs, expected, strict=False)]
        result["agree"] = all(d["agree"] for d in result["differences"])
    if shown is not None:
        save(folder / "outputs.npz", dict(zip(names, shown, strict=False)))
        save(folder / "inputs.npz", run_inputs.values)
    if expected is not None:
        save(folder / "reference.npz", dict(zip(names, expected, strict=False)))
    return result


def _inputs(
    model: Model,
    inputs: Path | dict[str, Any] | SamplesFile | None,
    seed: int,
    symbols: dict[str, int],
    runner: runtimes.Runner,
) -> RunInputs:
    left_out = f"{dynamic.listed(symbols)}: ignored, since the inputs have their own sizes." if symbols else ""
    if isinstance(inputs, Path):
        return RunInputs(feeds.from_npz(inputs, model.proto), note=left_out)
    if isinstance(inputs, SamplesFile):
        return first_sample(model.proto, inputs, symbols, runner)
    if inputs:
        return RunInputs(feeds.from_lists(inputs, model.proto), note=left_out)
    return feeds.random_inputs_that_run(model.proto, symbols, seed, runner.refusal)


def _refuse(model: Model) -> None:
    """Raise InvalidFile for models that can be inspected but not run: missing external data, recursive functions."""
    for where, reason in model.missing.items():
        raise InvalidFile(f"{where}: {reason}. Upload that file together with the model.")
    try:
        functions.inlined_size(model.proto)
    except functions.Recursive as error:
        raise InvalidFile(f"The model cannot be run: {error}.") from None


def _beside_its_data(model: Model, folder: Path) -> Path:
    """Return the path of the model next to its external data. These are copied, since both runtimes reject links."""
    if not model.externals:
        return model.path
    home = folder / "model"
    home.mkdir()
    for name, path in model.externals.items():
        shutil.copyfile(path, home / name)
    return Path(shutil.copyfile(model.path, home / f"{MARK}.onnx"))
