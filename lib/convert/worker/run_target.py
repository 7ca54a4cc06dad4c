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
    """Runs an artifact on the cases in ``source_runs``; writes the outputs to ``out`` under the source's names.

    - ``source``: the source's signature
    - ``names``: ``inputs`` and ``outputs`` that the edges so far have renamed
    - ``beside``: ``format`` and ``folder`` of the source if both run in one process; they are then timed in turns
    - ``last``: only the last artifact of a route is timed and run in the reference evaluator
    """
    progress("Running the result")
    runner = load(format, Path(folder))
    signature, source_signature = runner.signature(), Signature.from_dict(source)
    ins = pair([v.name for v in source_signature.inputs], [v.name for v in signature.inputs], names["inputs"])
    outs = pair([v.name for v in source_signature.outputs], [v.name for v in signature.outputs], names["outputs"])
    dtypes = {v.name: v.dtype for v in signature.inputs}

    def call(function: Callable[[arrays.Arrays], arrays.Arrays], inputs: arrays.Arrays) -> arrays.Arrays:
        outputs = function({ins[n]: recast(n, v, dtypes[ins[n]]) for n, v in inputs.items() if n in ins})
        return {name: outputs[target_name] for name, target_name in outs.items() if target_name in outputs}

    refused, ordinary = {}, next((c for c in cases if c["kind"] == "ordinary"), None)
    todo = [c for c in cases if not c["kind"].startswith("perturbed")]
    # the first case runs twice, to detect dropout that was left on or other randomness
    for file, case in [(c["file"], c) for c in todo] + ([(f"again-{ordinary['file']}", ordinary)] if ordinary else []):
        seconds = EXTREME_SECONDS * 4 if case["kind"] in EXTREME else CASE_SECONDS * 2  # a target may be slower
        try:
            inputs = arrays.load(Path(source_runs) / f"in-{case['file']}")
            arrays.save(Path(out) / f"out-{file}", call(lambda x, s=seconds: run(runner, x, s), inputs))
        except MemoryError:
            raise
        except Exception as error:  # frameworks raise many kinds of errors for inputs that they refuse
            refused[file] = sanitize_message(error)
    reply: Answer = {"signature": signature.as_dict(), "refused": refused}
    reply |= dict.fromkeys(("reference", "median_ms", "steady_ms"))
    reply["notes"] = changes(source_signature, signature, ins, outs)
    if last and ordinary and ordinary["file"] not in refused:
        inputs = arrays.load(Path(source_runs) / f"in-{ordinary['file']}")
        source_runner = load(beside["format"], Path(beside["folder"])) if beside else None
        reply["reference"] = _reference(runner, call, inputs, Path(out), ordinary["file"])
        if reply["reference"] == "" and isinstance(source_runner, Referenced):
            _reference_of_source(source_runner, inputs, Path(out))
        # the target's time includes casts, which take little
        calls: dict[str, Callable[[], Any]] = {"target": lambda: call(runner.run, inputs)}
        if source_runner is not None:
            calls["source"] = lambda: source_runner.run(inputs)
        progress("Timing")
        reply["median_ms"], reply["steady_ms"] = timing.measured(calls)
    return reply


def _reference(runner: Any, call: Callable[..., arrays.Arrays], inputs: arrays.Arrays, out: Path, file: str) -> str | None:
    """Runs the reference evaluator. Returns "" if its outputs are in ``out``, else why it failed; None without one."""
    if not isinstance(runner, Referenced):
        return None
    try:
        with at_most(REFERENCE_SECONDS):
            arrays.save(out / "reference.npz", call(runner.run_reference, inputs))
    except TooSlow:
        return f"it took over {REFERENCE_SECONDS} s"
    except Exception as error:  # numpy's, onnx's or Python's own, depending on the operator
        return sanitize_message(error)
    return ""


def _reference_of_source(runner: Referenced, inputs: arrays.Arrays, out: Path) -> None:
    """Runs the reference evaluator on the source: if it differs there too, it says nothing about the conversion.

    The evaluator is slow, so this only happens if it disagrees with onnxruntime on the converted model.
    """
    from lib.convert.worker.hops import differs

    reference = arrays.load(out / "reference.npz")
    target = next((arrays.load(p) for p in sorted(out.glob("out-again-*.npz"))), None)
    if target is None or not differs(target, reference):
        return
    try:
        with at_most(REFERENCE_SECONDS):
            arrays.save(out / "reference-source.npz", runner.run_reference(inputs))
    except (TooSlow, Exception):  # no result for the source then
        return


def recast(name: str, value: np.ndarray, dtype: str) -> np.ndarray:
    """Returns a copy in the target's dtype. Raises JobFailed for integers that it cannot represent."""
    target_dtype = numpy_dtype(dtype)
    if value.dtype == target_dtype or value.dtype.kind == "O":
        return value.copy()
    out = value.astype(target_dtype)
    if value.dtype.kind in "iu" and not np.array_equal(out.astype(value.dtype), value):
        raise JobFailed(
            f"input {name!r} is {target_dtype} in the converted model, which does not hold all {value.dtype} values"
        )
    return out
