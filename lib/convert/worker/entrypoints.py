"""Entry points of the child processes (``lib/jobs.py``): JSON in, JSON out, in the environment of a format or an edge.

One job per function:

- ``admit``: turns an upload or a name into an artifact
- ``describe``: reads an artifact's signature
- ``preview_samples``: previews a file of samples
- ``run_source``, ``run_further``: run the source on the proof's inputs
- ``run_edge``: converts along one edge
- ``rename_samples``: renames the samples for the next hop
- ``run_target``: runs a converted artifact on the same inputs
- ``compare``, ``diverge``: judge the outputs, and find the first node that differs
- ``package``: packs the result
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
    """Writes an artifact to ``folder``; returns ``format``, ``messages``, ``bytes``, ``weights`` ("random", "given", "")."""
    from lib.convert.intake import sources

    progress("Checking the input" if files else "Building the model")
    format, messages = sources.admit_source({n: Path(p) for n, p in files.items()}, name, Path(folder), **allowed)
    weights = sources.weights(format, Path(folder))
    return {"format": format, "messages": messages, "bytes": size(Path(folder)), "weights": weights}


def describe(progress: Progress, format: str, folder: str) -> Answer:
    """Returns the model's signature and a guess of its image preprocessing. Raises InvalidFile for a faulty model."""
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
    """Previews a file of samples before anything is converted; see ``preview.py``."""
    from lib.convert.worker.preview import preview
    from lib.model_inputs.signature import Signature

    progress("Reading the samples")
    return preview(Path(path), name, Signature.from_dict(signature), preprocessing or None, sizes)


def run_edge(progress: Progress, run: str, source: str, target: str, options: dict[str, Any]) -> Answer:
    """Runs the edge ``run`` ("module:function"). ``edges/__init__.py`` documents the keys of the returned dict.

    ``files`` holds the SHA-256 of each file written: only the files that the proof ran on are handed out. Raises JobFailed
    if the tool raises.
    """
    module, name = run.split(":")
    convert = getattr(importlib.import_module(module), name)
    try:
        answer = convert(progress, Path(source), Path(target), options) or {}
    except (WorkbenchError, MemoryError):
        raise
    except Exception as error:  # tools raise anything; the user needs to see the tool's own message
        if out_of_memory(error):
            raise MemoryError from error
        raise JobFailed(f"The tool failed: {sanitize_message(error)}.") from error
    return NOTHING | answer | {"bytes": size(Path(target)), "files": digests(Path(target))}


def run_source(progress: Progress, **given: Any) -> Answer:
    """Checks the source and runs it on the proof's cases; see ``run_source.py``."""
    from lib.convert.worker.run_source import run_source as run

    return run(progress, **given)


def run_further(progress: Progress, **given: Any) -> Answer:
    """Runs the source above the limits of a target; see ``run_source.py``."""
    from lib.convert.worker.run_source import run_further as run

    return run(progress, **given)


def rename_samples(progress: Progress, before: str, after: str, format: str, folder: str, names: dict[str, str]) -> Answer:
    """Stores the samples from ``before`` in ``after``, with the names and dtypes of a hop's target, for the next hop."""
    from lib.convert.worker.run_target import recast
    from lib.model_inputs.stored import load as stored
    from lib.model_inputs.stored import save

    samples, signature = stored(Path(before)), load(format, Path(folder)).signature()
    target_names = pair(list(samples.rows[0]), [v.name for v in signature.inputs], names)
    dtypes = {v.name: v.dtype for v in signature.inputs}
    samples.rows = [
        {target_names[n]: recast(n, v, dtypes[target_names[n]]) for n, v in row.items() if n in target_names}
        for row in samples.rows
    ]
    save(samples, Path(after))
    return {}


def run_target(progress: Progress, **given: Any) -> Answer:
    """Runs a converted artifact on the source's cases; see ``run_target.py``."""
    from lib.convert.worker.run_target import run_target as run

    return run(progress, **given)


def compare(progress: Progress, **given: Any) -> Answer:
    """Returns a ``proof.comparison.Comparison`` as a dict; see ``hops.py``."""
    from dataclasses import asdict

    from lib.convert.worker import hops

    progress("Comparing")
    return asdict(hops.compare(**given))


def diverge(progress: Progress, source: str, target: str, inputs: str, names: dict[str, str], precision: str) -> Answer:
    """Finds the first node whose output differs between two ONNX artifacts; ``node`` is None if there is none.

    ``names``: the inputs that the edge between them renamed. The file ``inputs`` has the names of the route's source.
    Never raises, since the verdict stands without the node.
    """
    from lib.convert.formats.onnx import first_difference as bisection

    progress("Looking for the first node that differs")
    try:
        case = arrays.load(Path(inputs))
        source_names, target_names = ([v.name for v in load("onnx", Path(f)).signature().inputs] for f in (source, target))
        route_to_source = pair(list(case), source_names, {})
        renamed = names | pair(source_names, target_names, names)
        # an earlier step may have dropped an input that nothing used
        feed = {route_to_source[n]: v for n, v in case.items() if n in route_to_source}
        return {"node": bisection.first(Path(source), Path(target), feed, TOLERANCES[precision].node, renamed)}
    except Exception:  # onnx's, onnxruntime's, ours
        return {"node": None}


def package(progress: Progress, **given: Any) -> Answer:
    """Packs the result for download; see ``package.py``."""
    from lib.convert.worker import package as packing

    progress("Packing")
    return packing.pack(**given)
