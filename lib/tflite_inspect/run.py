"""Runs a file in LiteRT as a phone would, and once more with kernels that are slow and plain; compares and times."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InvalidFile, InvalidValue, WorkbenchError
from lib.model_inputs.signature import Signature
from lib.reports import machine
from lib.reports.difference import difference
from lib.reports.latency import timed
from lib.reports.outputs import described, save
from lib.tflite import file as tflite_file
from lib.tflite.flatbuffer import check_tflite
from lib.tflite.runner import Runner
from lib.tflite.signatures import parts
from lib.tflite.weights import computes_in_integers
from lib.tflite_inspect import about, feeds, tensors
from lib.tflite_inspect.feeds import Arrays, RunInputs, SamplesFile
from lib.tflite_inspect.graph import declared
from lib.tflite_inspect.macs import Passes
from lib.tflite_inspect.shapes import measured, signature

MAX_RUNS = 1000
REFERENCE_MACS = 2_000_000_000  # above, the reference kernels take minutes: plain ones are compared with instead
SAME = 0.99  # cosine of outputs that are computed in integers: each kernel rounds elsewhere, layer after layer
BY_COSINE = "computed in integers, where kernels round at different points"
TOP = 5  # labels


def run(
    path: Path,
    inputs: Path | dict[str, Any] | SamplesFile | None,
    seed: int,
    runs: int,
    sizes: dict[str, int],
    folder: Path,
    progress: Callable[..., None],
) -> dict[str, Any]:
    """The result of ``/run_onnx`` for a .tflite; writes ``inputs.npz``, ``outputs.npz`` and ``reference.npz`` to ``folder``.

    Every signature with plain tensors is run; of several, names are ``signature/name``. Values are as the file stores
    them: a quantised input takes its integers. Raises InvalidValue or InvalidFile for what the caller gave; what a
    runtime refuses is in the answer, as ``error``.
    """
    if not 1 <= runs <= MAX_RUNS:
        raise InvalidValue("runs", runs, f"a whole number from 1 to {MAX_RUNS}")
    if not 0 <= seed < 2**32:
        raise InvalidValue("seed", seed, "a whole number from 0 to 4294967295")
    check_tflite(path)
    model = tflite_file.read(path)
    takes = signature(model)
    if takes is None:
        raise InvalidFile(
            "This file has text, resources or packed numbers as inputs or outputs; only plain tensors can be run here."
        )
    progress("Opening it in LiteRT", 0.05)
    plan = measured(path, model, sizes if inputs is None else {})
    metadata, _ = about.metadata(path)
    before, start = machine.threads(), time.perf_counter()
    version = {"version": importlib.metadata.version("ai-edge-litert")}
    try:
        runner: Runner | None = Runner(path)
    except WorkbenchError as error:
        runner, refused = None, error.message
    loaded = time.perf_counter() - start
    chosen = _inputs(takes, inputs, seed, sizes, plan.sizes, about.hints(metadata), runner)
    progress("Running in LiteRT", 0.1)
    ours: dict[str, Any] = dict(version)
    outputs: Arrays | None = None
    if runner is None:
        ours["error"] = refused
    else:
        try:
            found, outputs = timed(lambda: runner.run(chosen.values), runs, progress)
            where = machine.described(before, "LiteRT on the CPU") | {"warm_up_runs": found.pop("warm_up_runs")}
            ours |= {"load_ms": loaded * 1000} | found | {"machine": where}
        except WorkbenchError as error:
            ours["error"] = error.message
        runner.close()
    progress("Running with the plain kernels", 0.7)
    macs = Passes(model, lambda k: plan.shapes if k == 0 else declared(model, k)).of(0).macs or 0
    reference, expected = _reference(path, chosen.values, plain=macs <= REFERENCE_MACS)
    shown = outputs if outputs is not None else expected
    quantised = _quantised(model)
    result = {
        "seed": None if inputs else seed,
        "symbols": chosen.sizes,
        "sizes": chosen.sizes,
        "sizes_note": chosen.note,
        "samples": chosen.samples,
        "inputs": [{"name": n, "dtype": v.dtype.name, "shape": list(v.shape)} for n, v in chosen.values.items()],
        "outputs": [described(n, v) | {"quantization": quantised.get(n)} for n, v in (shown or {}).items()],
        "top": _top(shown or {}, metadata, quantised),
        "litert": ours,
        "reference": version | reference,
        "differences": [],
        "agree": None,
    }
    if outputs is not None and expected is not None:
        whole = computes_in_integers(model)
        result["differences"] = [_difference(n, outputs[n], expected[n], quantised.get(n), whole) for n in outputs]
        result["agree"] = all(d["agree"] for d in result["differences"])
    for name, values in (
        ("inputs", chosen.values if shown is not None else None),
        ("outputs", shown),
        ("reference", expected),
    ):
        if values is not None:
            save(folder / f"{name}.npz", values)
    return result


def _inputs(
    takes: Signature,
    inputs: Path | dict[str, Any] | SamplesFile | None,
    seed: int,
    given: dict[str, int],
    plausible: dict[str, int],
    hints: dict[str, Any],
    runner: Runner | None,
) -> RunInputs:
    if isinstance(inputs, SamplesFile):
        return feeds.first_sample(inputs, takes, given, hints, lambda values: _refusal(runner, values))
    if inputs is not None:
        return feeds.given_inputs(inputs, takes, given)
    return feeds.random_inputs(takes, plausible, given, seed, hints)


def _refusal(runner: Runner | None, values: Arrays) -> str:
    if runner is None:
        return ""
    try:
        runner.run(values)
    except WorkbenchError as error:
        return error.message
    return ""


def _reference(path: Path, values: Arrays, *, plain: bool) -> tuple[dict[str, Any], Arrays | None]:
    """By kernels that are written to be read, or, for a big model, by LiteRT's own without acceleration."""
    from ai_edge_litert.interpreter import OpResolverType

    how = OpResolverType.BUILTIN_REF if plain else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    kernels, start = "reference" if plain else "built-in, without acceleration", time.perf_counter()
    try:
        found = Runner(path, experimental_op_resolver_type=how).run(values)
    except WorkbenchError as error:
        return {"kernels": kernels, "error": error.message}, None
    return {"kernels": kernels, "first_ms": (time.perf_counter() - start) * 1000}, found


def _quantised(model: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Outputs by name that have one scale."""
    found = {}
    for part in parts(model):
        graph = model["subgraphs"][part.graph]["tensors"]
        for name, number in part.outputs.items():
            one = tensors.quantization(graph[number])
            if one and one["count"] == 1 and one["scale"][0]:
                found[name] = one
    return found


def _real(value: np.ndarray, quantised: dict[str, Any] | None) -> np.ndarray:
    if quantised is None or value.dtype.kind not in "iu":
        return value
    zero = quantised["zero_point"][0] if quantised["zero_point"] else 0
    return ((value.astype(np.float64) - zero) * quantised["scale"][0]).astype(np.float32)


def _difference(
    name: str, ours: np.ndarray, expected: np.ndarray, quantised: dict[str, Any] | None, whole: bool
) -> dict[str, Any]:
    """Quantised outputs by what they stand for. ``whole``: the model computes in integers."""
    if not whole or ours.shape != expected.shape or ours.dtype != expected.dtype:
        return difference(name, ours, expected)
    found = difference(name, _real(ours, quantised), _real(expected, quantised))
    near = found["agree"] or (found["cosine"] or 0) >= SAME
    return {k: v for k, v in found.items() if k not in ("rtol", "atol")} | {
        "agree": near,
        "least_cosine": SAME,
        "why": BY_COSINE,
    }


def _top(outputs: Arrays, metadata: dict[str, Any] | None, quantised: dict[str, Any]) -> list[dict[str, Any]]:
    """The labels with the highest scores of the first row, where the metadata name one for each."""
    labels = metadata["labels"] if metadata else []
    if not labels:
        return []
    for name, value in outputs.items():
        if value.ndim >= 2 and value.shape[-1] == len(labels) and value.dtype.kind in "fiu":
            scores = _real(value, quantised.get(name)).reshape(-1, len(labels))[0].astype(np.float64)
            order = [k for k in np.argsort(-scores, kind="stable")[:TOP] if np.isfinite(scores[k])]
            return [{"label": labels[k], "score": float(scores[k])} for k in order]
    return []
