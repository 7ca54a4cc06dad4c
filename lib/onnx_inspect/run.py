"""Runs a model in onnxruntime and in onnx's ReferenceEvaluator, compares them, and times the former.

The file itself is what onnxruntime opens, copied next to its external data; nothing is rewritten.
"""

from __future__ import annotations

import json
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx.reference.ops.aionnxml  # all operators now, in the fork server: 0.2 s that each job would pay
import onnxruntime
from onnx.reference import ReferenceEvaluator

from lib.errors import InvalidFile, InvalidValue, JobFailed
from lib.onnx_inspect import feeds, shapes
from lib.onnx_inspect.profile import PROFILE_SECONDS, profile
from lib.onnx_model import functions, mended
from lib.onnx_model.open import Model
from lib.onnx_model.runtime import CPU, narrow, options, ready
from lib.onnx_model.wire import MARK
from lib.onnx_model.words import clean
from lib.time_limit import TooSlow, at_most

MAX_RUNS = 1000
LATENCY_SECONDS = 60.0  # runs stop here, and the answer says how many there were
REFERENCE_SECONDS = 60
LONGEST = 1000  # characters of an array's name in an .npz
FLOOR = 1e-7
SHOWN = 1000  # elements of an output that go into the answer
Report = Callable[..., None]


def run(
    model: Model,
    inputs: Path | dict[str, Any] | None,
    seed: int,
    runs: int,
    symbols: dict[str, int],
    folder: Path,
    progress: Report,
) -> dict[str, Any]:
    """The result of ``/run_onnx``; writes ``.npz`` files into ``folder``: ``inputs``, ``outputs``, ``reference``.

    ``outputs`` are onnxruntime's, or the reference evaluator's where onnxruntime refuses.

    Raises InvalidValue or InvalidFile for what the caller gave. What a runtime refuses is in the answer,
    as ``error`` of that runtime.
    """
    if not 1 <= runs <= MAX_RUNS:
        raise InvalidValue("runs", runs, f"a whole number from 1 to {MAX_RUNS}")
    if not 0 <= seed < 2**32:
        raise InvalidValue("seed", seed, "a whole number from 0 to 4294967295")
    _refuse(model)
    bound, chosen = shapes.bind(model.proto, symbols)
    if isinstance(inputs, Path):
        values = feeds.from_npz(inputs, model.proto)
    else:
        values = feeds.from_lists(inputs, model.proto) if inputs else feeds.made(bound, seed)
    path = _beside_its_data(model, folder)
    progress("Running in onnxruntime", 0.1)
    ours, outputs = _onnxruntime(path, values, runs, folder, progress)
    progress("Running in the reference evaluator", 0.7)
    reference, expected = _reference(path, values)
    names = [v.name for v in model.proto.graph.output]
    shown = outputs if outputs is not None else expected
    result = {
        "seed": None if inputs else seed,
        "symbols": None if inputs else chosen,
        "inputs": feeds.described(values),
        "outputs": [] if shown is None else [_described(n, v) for n, v in zip(names, shown, strict=False)],
        "onnxruntime": ours,
        "reference": reference,
        "differences": [],
        "agree": None,
    }
    if outputs is not None and expected is not None:
        result["differences"] = [difference(n, a, b) for n, a, b in zip(names, outputs, expected, strict=False)]
        result["agree"] = all(d["agree"] for d in result["differences"])
    if shown is not None:
        _save(folder / "outputs.npz", dict(zip(names, shown, strict=False)))
        _save(folder / "inputs.npz", values)
    if expected is not None:
        _save(folder / "reference.npz", dict(zip(names, expected, strict=False)))
    return result


def _refuse(model: Model) -> None:
    """What a report can speak of but no runtime should be given."""
    for where, why in model.missing.items():
        raise InvalidFile(f"{where}: {why}. Upload that file together with the model.")
    try:
        functions.inlined_size(model.proto)
    except functions.Recursive as error:
        raise InvalidFile(f"The model cannot be run: {error}.") from None


def _beside_its_data(model: Model, folder: Path) -> Path:
    """Both loaders refuse links, so external data are copied; a model without them is opened where it is."""
    if not model.externals:
        return model.path
    home = folder / "model"
    home.mkdir()
    for name, path in model.externals.items():
        shutil.copyfile(path, home / name)
    return Path(shutil.copyfile(model.path, home / f"{MARK}.onnx"))


def _onnxruntime(
    path: Path, values: dict[str, np.ndarray], runs: int, folder: Path, progress: Report
) -> tuple[dict[str, Any], list[Any] | None]:
    """Load, first run, latency over ``runs`` more, then one profiled run. Milliseconds."""
    try:
        start = time.perf_counter()
        session = onnxruntime.InferenceSession(str(path), options(), providers=CPU)
        call = ready(session, values)
        loaded = time.perf_counter()
        outputs = call()
        first = time.perf_counter() - loaded
    except Exception as error:  # onnxruntime's errors share no public base class
        return {"version": onnxruntime.__version__, "error": clean(str(error)) or type(error).__name__}, None
    times = [first] if first > LATENCY_SECONDS else []
    while len(times) < runs and sum(times) < LATENCY_SECONDS:
        start_run = time.perf_counter()
        call()
        times.append(time.perf_counter() - start_run)
        if len(times) % 16 == 0:
            progress(f"Run {len(times)} of {runs}", 0.1 + 0.5 * len(times) / runs)
    del session, call
    milliseconds = np.array(times) * 1000
    marks = {f"p{p}": float(np.percentile(milliseconds, p)) for p in (5, 50, 90, 95, 99)}
    return {
        "version": onnxruntime.__version__,
        "load_ms": (loaded - start) * 1000,
        "first_ms": first * 1000,
        "runs": len(times),
        "latency_ms": marks | {"min": float(milliseconds.min()), "mean": float(milliseconds.mean())},
        "profile": profile(path, values, folder) if first < PROFILE_SECONDS else [],
    }, outputs


def _reference(path: Path, values: dict[str, np.ndarray]) -> tuple[dict[str, Any], list[Any] | None]:
    start = time.perf_counter()
    try:
        with at_most(REFERENCE_SECONDS):
            model = onnx.load(str(path))
            outputs = ReferenceEvaluator(model, new_ops=mended.operators(model)).run(None, values)
    except TooSlow:
        return {"version": onnx.__version__, "error": f"stopped after {REFERENCE_SECONDS} s: it is slow on big models"}, None
    except MemoryError:
        return {"version": onnx.__version__, "error": "it needs more memory than a job may take"}, None
    except Exception as error:  # numpy's, onnx's and Python's own, as the operator has it
        return {"version": onnx.__version__, "error": clean(f"{type(error).__name__}: {error}")}, None
    return {"version": onnx.__version__, "first_ms": (time.perf_counter() - start) * 1000}, outputs


def difference(name: str, ours: Any, expected: Any, rtol: float = 1e-3, atol: float = 1e-5) -> dict[str, Any]:
    """``max_abs``, ``max_rel`` (where expected is not 0), ``cosine``; agree: dtype, shape, |a-b| <= rtol·|b| + atol.

    ``atol`` in the answer is the given one times the largest |b|, so that the verdict does not depend on the
    output's scale, and 1e-7 at least: an exact 0 in one is rounding in the other.

    Integers and booleans must be equal; narrow floats may be four of their own rounding steps apart.
    """
    if not (isinstance(ours, np.ndarray) and isinstance(expected, np.ndarray)):
        same = isinstance(ours, list) and isinstance(expected, list) and len(ours) == len(expected)
        parts = [difference(name, a, b, rtol, atol) for a, b in zip(ours, expected, strict=True)] if same else []
        agree = (bool(same) and all(p["agree"] for p in parts)) or (ours is None and expected is None)
        return {"name": name, "agree": agree, "max_abs": max((p["max_abs"] or 0.0 for p in parts), default=None)}
    out: dict[str, Any] = {
        "name": name,
        "agree": False,
        "max_abs": None,
        "max_rel": None,
        "cosine": None,
        "rtol": rtol,
        "atol": atol,
    }
    if ours.shape != expected.shape or ours.dtype != expected.dtype:
        return out | {"why": f"{ours.dtype} {list(ours.shape)} against {expected.dtype} {list(expected.shape)}"}
    if ours.dtype.kind in "OSU":
        return out | {"agree": ours.tolist() == expected.tolist()}
    rtol, atol = _tolerance(ours.dtype, rtol, atol)
    out |= {"rtol": rtol, "atol": atol}
    wide = np.complex128 if ours.dtype.kind == "c" else np.float64
    a, b = ours.astype(wide).reshape(-1), expected.astype(wide).reshape(-1)
    both = np.isfinite(a) & np.isfinite(b)
    odd = ~both & ~((a == b) | (np.isnan(a) & np.isnan(b)))
    with np.errstate(all="ignore"):
        gap, size = np.abs(a[both] - b[both]), np.abs(b[both])
        atol = max(atol * float(size.max(initial=0.0)), FLOOR)
        out["atol"] = _number(atol)
        near = bool((ours == expected).all()) if ours.dtype.kind in "iub" else bool((gap <= atol + rtol * size).all())
        out["agree"] = not odd.any() and near
        out["max_abs"] = _number(gap.max(initial=0.0))
        out["max_rel"] = _number((gap[size > 0] / size[size > 0]).max(initial=0.0))
        norm = float(np.linalg.norm(a[both]) * np.linalg.norm(b[both]))
        out["cosine"] = _number(np.real(np.vdot(a[both], b[both])) / norm) if norm else None
    return out | ({"why": f"{int(odd.sum())} values are finite in one and not in the other"} if odd.any() else {})


def _tolerance(dtype: np.dtype, rtol: float, atol: float) -> tuple[float, float]:
    if dtype.kind in "iub":
        return 0.0, 0.0
    try:
        return max(rtol, 4 * float(ml_dtypes.finfo(dtype).eps)), atol
    except ValueError:  # a narrow integer
        return 0.0, 0.0


def _number(value: Any) -> float | None:
    """JSON has no infinity; the difference of two huge numbers may be one."""
    return float(value) if np.isfinite(value) else None


def _described(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, np.ndarray):
        return {"name": name, "dtype": type(value).__name__, "shape": None, "values": None}
    out = {"name": name, "dtype": value.dtype.name if value.dtype != object else "string", "shape": list(value.shape)}
    if value.dtype.kind in "OSU":
        return out | {"values": [str(v)[:100] for v in value.reshape(-1)[:SHOWN]]}
    numbers = np.abs(value) if value.dtype.kind == "c" else value
    numbers = numbers.astype(np.float64).reshape(-1)
    finite = numbers[np.isfinite(numbers)]
    if finite.size:
        with np.errstate(over="ignore"):
            mean = _number(finite.mean())
        out |= {"minimum": float(finite.min()), "maximum": float(finite.max()), "mean": mean}
    out["not_finite"] = int(numbers.size - finite.size)
    exact = value if value.dtype.kind in "iub" else numbers.reshape(value.shape)  # an id of 2⁵³ + 1 is no float
    shown = exact.reshape(-1)[:SHOWN] if numbers.size > SHOWN else exact
    out["complete"] = numbers.size <= SHOWN
    return out | {
        "values": json.loads(
            json.dumps(shown.tolist()).replace("NaN", '"nan"').replace("-Infinity", '"-inf"').replace("Infinity", '"inf"')
        )
    }


def _save(path: Path, values: dict[str, Any]) -> None:
    """What ``np.load`` reads back. bfloat16, float8 and 4-bit go in as plain bytes: to be viewed as what they are."""
    try:
        # not np.savez: an output may be called "file", which is a parameter there
        with zipfile.ZipFile(path, "w") as archive:
            for k, (name, value) in enumerate(values.items()):
                if isinstance(value, np.ndarray):
                    name = name if len(name) <= LONGEST else f"{k}"  # a zip archive cannot hold any name
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, _plain(value), allow_pickle=False)
    except (ValueError, OSError) as error:
        raise JobFailed(f"The model ran, but {path.name} could not be written: {clean(str(error))}.") from None


def _plain(value: np.ndarray) -> np.ndarray:
    if narrow(value):
        return np.ascontiguousarray(value).view(np.dtype(("V", value.itemsize))).reshape(value.shape)
    return value.astype(str) if value.dtype == object else value
