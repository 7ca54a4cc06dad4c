"""Tasks that run in a child process (``lib/jobs.py``). Arguments and results are JSON.

``model``: path of the uploaded file; ``externals``: paths of its external data by name. The working folder belongs to the
job; files for the visitor are written to ``out``, a folder that the caller created.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.errors import InvalidValue
from lib.onnx_inspect import build, collapse, compare, run, weights
from lib.onnx_inspect.examples import EXAMPLES
from lib.onnx_inspect.samples import SamplesFile
from lib.onnx_inspect.summary import summarise
from lib.onnx_model.open import Model, open_model

Progress = Callable[..., None]
HERE = Path(".")


def _open(model: str, externals: dict[str, str]) -> Model:
    return open_model(Path(model), {name: Path(path) for name, path in externals.items()})


def inspect(
    progress: Progress, model: str, externals: dict[str, str], name: str, symbols: dict[str, int], out: str | None = None
) -> dict[str, Any]:
    """Return the report. With ``out``, also write ``graph.onnx`` and, for a big graph, ``collapsed.onnx`` for a viewer."""
    progress("Reading the structure", 0.1)
    opened = _open(model, externals)
    progress("Checking and counting", 0.3)
    report = summarise(opened, name, symbols, HERE).as_dict()
    if out is not None:
        progress("Preparing the graph", 0.9)
        collapse.write(opened, Path(out))
    return report


def tensor(progress: Progress, model: str, externals: dict[str, str], tensor: str) -> dict[str, Any]:
    """Return the statistics of one weight."""
    progress("Reading the values", 0.2)
    return weights.statistics(_open(model, externals), tensor)


def execute(
    progress: Progress,
    model: str,
    externals: dict[str, str],
    inputs: str | None,
    seed: int,
    runs: int,
    symbols: dict[str, int],
    out: str | None = None,
    values: dict[str, Any] | None = None,
    samples: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Run the model on ``inputs`` (an .npz), ``samples``, typed ``values``, or random inputs, and return the result.

    ``samples``: {path, name, preprocessing}. With ``out``, the run's .npz files are moved there.
    """
    progress("Opening the model", 0.05)
    opened = _open(model, externals)
    run_inputs: Any = Path(inputs) if inputs else values
    if samples:
        tokenizer = externals.get("tokenizer.json")
        run_inputs = SamplesFile(
            Path(samples["path"]),
            samples["name"],
            samples.get("preprocessing") or {},
            Path(tokenizer) if tokenizer else None,
        )
    result = run.run(opened, run_inputs, seed, runs, symbols, HERE, progress)
    for name in ("inputs.npz", "outputs.npz", "reference.npz"):
        if out is not None and (HERE / name).is_file():
            shutil.move(name, Path(out) / name)
    return result


def example(progress: Progress, name: str, out: str) -> dict[str, Any]:
    """Write the example ``name`` to ``out/model.onnx`` and return its report. Raises InvalidValue for another name."""
    if name not in EXAMPLES:
        raise InvalidValue("example", name, ", ".join(EXAMPLES))
    path = Path(out) / "model.onnx"
    path.write_bytes(EXAMPLES[name]().SerializeToString())
    return inspect(progress, str(path), {}, f"{name}.onnx", {}, out)


def from_text(progress: Progress, text: str, out: str) -> dict[str, Any]:
    """Parse ONNX text into ``out/model.onnx`` and return its report."""
    progress("Parsing", 0.1)
    path = build.parse(text, Path(out) / "model.onnx")
    return inspect(progress, str(path), {}, "model.onnx", {}, out)


def as_text(progress: Progress, model: str, externals: dict[str, str]) -> dict[str, Any]:
    """Return the model as ONNX text. Raises InvalidFile if it is too large."""
    return {"text": build.to_text(_open(model, externals))}


def difference(
    progress: Progress,
    old: str,
    old_externals: dict[str, str],
    new: str,
    new_externals: dict[str, str],
    rtol: float,
    atol: float,
) -> dict[str, Any]:
    """Return the differences between two models. ``rtol``, ``atol``: tolerances of equal initializers."""
    progress("Comparing", 0.2)
    return compare.compare(_open(old, old_externals), _open(new, new_externals), rtol, atol)
