"""The target's side of the proof: runs a converted artifact on the cases that the source accepted, and times it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lib.convert.core import arrays
from lib.convert.core.runner import Referenced, run
from lib.convert.core.tool_messages import sanitize_message
from lib.convert.formats import load
from lib.convert.proof.pairing import changes, pair
from lib.convert.proof.tolerances import EXTREME
from lib.convert.worker import timing
from lib.convert.worker.source_runs import CASE_SECONDS, EXTREME_SECONDS
from lib.errors import JobFailed
from lib.model_inputs.signature import Signature
from lib.model_inputs.signature import dtype as numpy_dtype
from lib.time_limit import TooSlow, at_most

Answer = dict[str, Any]
REFERENCE_SECONDS = 20


def run_target(
    progress: Any,
    format: str,
    folder: str,
    source_runs: str,
    out: str,
    cases: list[dict[str, Any]],
    source: dict[str, Any],
    names: dict[str, dict[str, str]],
    beside: dict[str, str] | None = None,
    last: bool = True,
) -> Answer:
    """Runs an artifact on the cases in ``source_runs``; outputs go to ``out`` under the source's names.

    ``source``: the source's signature; ``names``: what the edges so far have renamed; ``beside``: the source itself, if
    both can run in one process: then they are timed in turns. Only the ``last`` artifact of a route is timed and run in
    the reference evaluator.
    """
    progress("Running the result")
    runner = load(format, Path(folder))
    signature, given = runner.signature(), Signature.from_dict(source)
    ins = pair([v.name for v in given.inputs], [v.name for v in signature.inputs], names["inputs"])
    outs = pair([v.name for v in given.outputs], [v.name for v in signature.outputs], names["outputs"])
    dtypes = {v.name: v.dtype for v in signature.inputs}

    def call(function: Callable[[arrays.Arrays], arrays.Arrays], inputs: arrays.Arrays) -> arrays.Arrays:
        found = function({ins[n]: recast(n, v, dtypes[ins[n]]) for n, v in inputs.items() if n in ins})
        return {name: found[mine] for name, mine in outs.items() if mine in found}

    refused, first = {}, next((c for c in cases if c["kind"] == "ordinary"), None)
    todo = [c for c in cases if not c["kind"].startswith("perturbed")]
    # the first case is run twice, to detect dropout that was left on or another source of randomness
    for file, case in [(c["file"], c) for c in todo] + ([(f"again-{first['file']}", first)] if first else []):
        seconds = EXTREME_SECONDS * 4 if case["kind"] in EXTREME else CASE_SECONDS * 2  # a target may be slower
        try:
            inputs = arrays.load(Path(source_runs) / f"in-{case['file']}")
            arrays.save(Path(out) / f"out-{file}", call(lambda x, s=seconds: run(runner, x, s), inputs))
        except MemoryError:
            raise
        except Exception as error:  # frameworks raise all kinds of errors for inputs that they refuse
            refused[file] = sanitize_message(error)
    reply: Answer = {"signature": signature.as_dict(), "refused": refused}
    reply |= dict.fromkeys(("reference", "median_ms", "steady_ms"))
    reply["notes"] = changes(given, signature, ins, outs)
    if last and first and first["file"] not in refused:
        inputs = arrays.load(Path(source_runs) / f"in-{first['file']}")
        other = load(beside["format"], Path(beside["folder"])) if beside else None
        reply["reference"] = _reference(runner, call, inputs, Path(out), first["file"])
        if reply["reference"] == "" and isinstance(other, Referenced):
            _reference_of_source(other, inputs, Path(out))
        calls: dict[str, Callable[[], Any]] = {"target": lambda: call(runner.run, inputs)}  # also casts, which is little
        if other is not None:
            calls["source"] = lambda: other.run(inputs)
        progress("Timing")
        reply["median_ms"], reply["steady_ms"] = timing.measured(calls)
    return reply


def _reference(runner: Any, call: Callable[..., arrays.Arrays], inputs: arrays.Arrays, out: Path, file: str) -> str | None:
    """None if the format has no reference; "" if its outputs are in ``out``; else why it did not run."""
    if not isinstance(runner, Referenced):
        return None
    try:
        with at_most(REFERENCE_SECONDS):
            arrays.save(out / "reference.npz", call(runner.run_reference, inputs))
    except TooSlow:
        return f"it took over {REFERENCE_SECONDS} s"
    except Exception as error:  # depends on the operator: numpy's, onnx's or Python's own
        return sanitize_message(error)
    return ""


def _reference_of_source(runner: Referenced, inputs: arrays.Arrays, out: Path) -> None:
    """Runs the reference evaluator on the source. If it differs there, too, it says nothing about the conversion.

    It is slow, so it only runs if it disagrees with onnxruntime on the converted model.
    """
    from lib.convert.worker.hops import differs

    theirs = arrays.load(out / "reference.npz")
    ours = next((arrays.load(p) for p in sorted(out.glob("out-again-*.npz"))), None)
    if ours is None or not differs(ours, theirs):
        return
    try:
        with at_most(REFERENCE_SECONDS):
            arrays.save(out / "reference-source.npz", runner.run_reference(inputs))
    except (TooSlow, Exception):  # then there is no result for the source
        return


def recast(name: str, value: np.ndarray, dtype: str) -> np.ndarray:
    """A copy in the target's dtype. Raises JobFailed for an integer that the target's dtype does not hold."""
    wanted = numpy_dtype(dtype)
    if value.dtype == wanted or value.dtype.kind == "O":
        return value.copy()
    out = value.astype(wanted)
    if value.dtype.kind in "iu" and not np.array_equal(out.astype(value.dtype), value):
        raise JobFailed(f"input {name!r} is {wanted} in the converted model, which does not hold all {value.dtype} values")
    return out
