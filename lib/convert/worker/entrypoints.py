"""What runs in a child process, in the environment that a format or an edge needs: JSON in and out (``lib/jobs.py``).

One job each: ``admit`` (an upload or a name becomes an artifact), ``describe`` (its signature), ``preview_samples``,
``run_source`` (its answers to the proof's inputs), ``run_edge`` (one edge), ``run_target`` (another artifact's answers to
the same), ``compare``, ``diverge``, ``package``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.convert.core import arrays
from lib.convert.core.artifact import digests, size
from lib.convert.core.runner import Checked
from lib.convert.core.tool_messages import sanitize_message
from lib.convert.formats import load
from lib.convert.proof.pairing import pair
from lib.convert.proof.tolerances import TOLERANCES
from lib.errors import JobFailed, WorkbenchError, out_of_memory

Progress = Callable[..., None]
Answer = dict[str, Any]
NOTHING: Answer = {
    "messages": [],
    "inputs": {},
    "outputs": {},
    "fixed": {},
    "limits": {},
    "blind_spots": [],
    "lost": [],
    "unchanged": "",
    "layers": [],
    "chosen": {},
}


def admit(progress: Progress, files: dict[str, str], name: str, folder: str, **allowed: bool) -> Answer:
    """``format``, ``messages`` and ``weights`` ("random", "given" or ""); the artifact is in ``folder``."""
    from lib.convert.intake import sources

    progress("Checking what was given" if files else "Building the model")
    format, messages = sources.admit_source({n: Path(p) for n, p in files.items()}, name, Path(folder), **allowed)
    weights = sources.weights(format, Path(folder))
    return {"format": format, "messages": messages, "bytes": size(Path(folder)), "weights": weights}


def describe(progress: Progress, format: str, folder: str) -> Answer:
    """The signature of a sound model, and how its pictures are probably made. Raises InvalidFile for another."""
    from lib.model_inputs.preprocessing import guess

    progress("Looking at inputs and outputs")
    runner = load(format, Path(folder))
    if isinstance(runner, Checked):
        runner.check()
    signature = runner.signature()
    picture = next((v for v in signature.inputs if v.role == "image"), None)
    guessed = None if picture is None else guess(picture).as_dict()
    return {"signature": signature.as_dict(), "preprocessing": guessed}


def preview_samples(
    progress: Progress, signature: Answer, path: str, name: str, preprocessing: dict[str, Any], sizes: dict[str, int]
) -> Answer:
    """What a file of samples holds, before anything is converted; see ``preview.py``."""
    from lib.convert.worker.preview import preview
    from lib.model_inputs.signature import Signature

    progress("Reading the samples")
    return preview(Path(path), name, Signature.from_dict(signature), preprocessing or None, sizes)


def run_edge(progress: Progress, run: str, source: str, target: str, options: dict[str, Any]) -> Answer:
    """Runs the edge ``module:function``. What it may answer is in ``edges/__init__.py``.

    ``files`` has the SHA-256 of what it made: that is what is proven, and nothing else is handed out.
    """
    module, name = run.split(":")
    convert = getattr(importlib.import_module(module), name)
    try:
        said = convert(progress, Path(source), Path(target), options) or {}
    except (WorkbenchError, MemoryError):
        raise
    except Exception as error:  # whatever the tools raise; a visitor needs to know what the tool did not like
        if out_of_memory(error):
            raise MemoryError from error
        raise JobFailed(f"The tool gave up: {sanitize_message(error)}.") from error
    return NOTHING | said | {"bytes": size(Path(target)), "files": digests(Path(target))}


def run_source(progress: Progress, **given: Any) -> Answer:
    from lib.convert.worker.run_source import run_source as run

    return run(progress, **given)


def run_further(progress: Progress, **given: Any) -> Answer:
    from lib.convert.worker.run_source import run_further as run

    return run(progress, **given)


def rename_samples(progress: Progress, before: str, after: str, format: str, folder: str, names: dict[str, str]) -> Answer:
    """The samples under the names and in the dtypes of a hop's target, for the next hop."""
    from lib.convert.worker.run_target import recast
    from lib.model_inputs.stored import load as stored
    from lib.model_inputs.stored import save

    samples, signature = stored(Path(before)), load(format, Path(folder)).signature()
    theirs = pair(list(samples.rows[0]), [v.name for v in signature.inputs], names)
    dtypes = {v.name: v.dtype for v in signature.inputs}
    samples.rows = [
        {theirs[n]: recast(n, v, dtypes[theirs[n]]) for n, v in row.items() if n in theirs} for row in samples.rows
    ]
    save(samples, Path(after))
    return {}


def run_target(progress: Progress, **given: Any) -> Answer:
    from lib.convert.worker.run_target import run_target as run

    return run(progress, **given)


def compare(progress: Progress, **given: Any) -> Answer:
    """``proof.comparison.Comparison`` as a dict; see ``hops.py``."""
    from dataclasses import asdict

    from lib.convert.worker import hops

    progress("Comparing")
    return asdict(hops.compare(**given))


def diverge(progress: Progress, source: str, target: str, inputs: str, names: dict[str, str], precision: str) -> Answer:
    """The first node whose output differs, between two ONNX artifacts; ``node`` is None where none was found.

    ``names``: what the edge between them renamed. The file ``inputs`` has the names of the route's source.
    Whatever goes wrong: the verdict stands without the node, so nothing is raised.
    """
    from lib.convert.formats.onnx import first_difference as bisection

    progress("Looking for the first node that differs")
    try:
        given = arrays.load(Path(inputs))
        ours, theirs = ([v.name for v in load("onnx", Path(f)).signature().inputs] for f in (source, target))
        mine = pair(list(given), ours, {})
        renamed = names | pair(ours, theirs, names)
        # an earlier step may have dropped an input that nothing used
        known = {mine[n]: v for n, v in given.items() if n in mine}
        return {"node": bisection.first(Path(source), Path(target), known, TOLERANCES[precision].node, renamed)}
    except Exception:  # onnx's, onnxruntime's, ours
        return {"node": None}


def package(progress: Progress, **given: Any) -> Answer:
    from lib.convert.worker import package as packing

    progress("Packing")
    return packing.pack(**given)
