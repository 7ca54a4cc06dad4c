"""The two runtimes: onnxruntime, timed and profiled, and onnx's ReferenceEvaluator, which runs once."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference.ops.aionnxml  # all operators now, in the fork server: 0.2 s that each job would pay
import onnxruntime
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator

from lib.onnx_inspect.profile import PROFILE_SECONDS, profile
from lib.onnx_model import reference_patches
from lib.onnx_model.runtime import CPU, options, ready
from lib.onnx_model.words import clean
from lib.reports import machine
from lib.reports.latency import timed
from lib.time_limit import TooSlow, at_most

REFERENCE_SECONDS = 60
TRY_SECONDS = 10.0  # time limit of a trial run
NO_OPERATOR = re.compile(r"No registered implementation for operator '([\w.]+)' and domain '([\w.]*)'")
Report = Callable[..., None]


class Runner:
    """A model in onnxruntime. ``error`` says why it cannot be loaded, or is ""."""

    def __init__(self, path: Path) -> None:
        self._path, self.error = path, ""
        self._session: onnxruntime.InferenceSession | None = None
        before, start = machine.threads(), time.perf_counter()
        try:
            self._session = onnxruntime.InferenceSession(str(path), options(), providers=CPU)
        except Exception as error:  # onnxruntime's errors have no common public base class
            self.error = _message(error)
        self._loaded = time.perf_counter() - start
        self._machine = machine.described(before, CPU[0])

    def refusal(self, values: dict[str, np.ndarray]) -> str:
        """Return why onnxruntime cannot run ``values``, or "" if it can, if the run takes over ten seconds, or if the
        model is not loaded.
        """
        if self._session is None:
            return ""
        run_options = onnxruntime.RunOptions()
        run_options.log_severity_level = 4  # native log output must not reach a visitor
        timed_out = threading.Event()

        def stop() -> None:
            timed_out.set()
            run_options.terminate = True

        timer = threading.Timer(TRY_SECONDS, stop)
        timer.start()
        try:
            ready(self._session, values, run_options)()
        except Exception as error:
            return "" if timed_out.is_set() else _message(error)
        finally:
            timer.cancel()
        return ""

    def run(
        self, values: dict[str, np.ndarray], runs: int, folder: Path, progress: Report, model: ModelProto
    ) -> tuple[dict[str, Any], list[Any] | None]:
        """Time the first run and ``runs`` more, then profile. Returns the report, in milliseconds, and the outputs."""
        version = {"version": onnxruntime.__version__}
        if self._session is None:
            return version | {"error": self.error}, None
        try:
            call = ready(self._session, values)
            timings, outputs = timed(call, runs, progress)
        except Exception as error:
            return version | {"error": _message(error)}, None
        del call
        self._session = None
        warm = {"warm_up_runs": timings.pop("warm_up_runs")}
        first_seconds = timings["first_ms"] / 1000
        return version | {"load_ms": self._loaded * 1000} | timings | {
            "machine": self._machine | warm,
            "profile": profile(self._path, values, folder, model) if first_seconds < PROFILE_SECONDS else [],
        }, outputs


def reference(path: Path, values: dict[str, np.ndarray]) -> tuple[dict[str, Any], list[Any] | None]:
    """Run the model in onnx's reference evaluator: slow Python, but the specification of the operators that it has."""
    start, version = time.perf_counter(), {"version": onnx.__version__}
    try:
        with at_most(REFERENCE_SECONDS):
            model = onnx.load(str(path))
            outputs = ReferenceEvaluator(model, new_ops=reference_patches.operators(model)).run(None, values)
    except TooSlow:
        return version | {"error": f"stopped after {REFERENCE_SECONDS} s: it is slow on big models"}, None
    except MemoryError:
        return version | {"error": "it needs more memory than a job may use"}, None
    except Exception as error:  # depends on the operator: an error of numpy, onnx or Python
        text = clean(f"{type(error).__name__}: {error}")
        if (lacks := NO_OPERATOR.search(text)) is not None:
            text = f"it has no operator {f'{lacks[2]}.' if lacks[2] else ''}{lacks[1]}"
        return version | {"error": text}, None
    return version | {"first_ms": (time.perf_counter() - start) * 1000}, outputs


def _message(error: Exception) -> str:
    """Return onnxruntime's message without its codes. For an error in nested subgraphs, keep only the innermost node."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", "", " ".join(str(error)[:8000].split()))
    if len(places := text.split("Status Message: ")) > 1:
        named = re.findall(r"Name:'([^']{0,300})'", places[-2])
        text = f"node {named[-1]!r}: {places[-1]}" if named else places[-1]
    return clean(text) or type(error).__name__
