"""The two runtimes: onnxruntime, timed and profiled, and onnx's ReferenceEvaluator, which is only asked once."""

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
TRY_SECONDS = 10.0  # of sizes that are only tried
NO_OPERATOR = re.compile(r"No registered implementation for operator '([\w.]+)' and domain '([\w.]*)'")
Report = Callable[..., None]


class Runner:
    """One model in onnxruntime; ``error`` says why it cannot be loaded."""

    def __init__(self, path: Path) -> None:
        self._path, self.error = path, ""
        self._session: onnxruntime.InferenceSession | None = None
        before, start = machine.threads(), time.perf_counter()
        try:
            self._session = onnxruntime.InferenceSession(str(path), options(), providers=CPU)
        except Exception as error:  # onnxruntime's errors share no public base class
            self.error = _message(error)
        self._loaded = time.perf_counter() - start
        self._machine = machine.described(before, CPU[0])

    def refusal(self, values: dict[str, np.ndarray]) -> str:
        """Why onnxruntime does not run ``values``; "" where it does, or is still at it after ten seconds, and where it
        has not even loaded the model.
        """
        if self._session is None:
            return ""
        how = onnxruntime.RunOptions()
        how.log_severity_level = 4  # native text must not reach a visitor
        late = threading.Event()

        def stop() -> None:
            late.set()
            how.terminate = True

        timer = threading.Timer(TRY_SECONDS, stop)
        timer.start()
        try:
            ready(self._session, values, how)()
        except Exception as error:
            return "" if late.is_set() else _message(error)
        finally:
            timer.cancel()
        return ""

    def run(
        self, values: dict[str, np.ndarray], runs: int, folder: Path, progress: Report, model: ModelProto
    ) -> tuple[dict[str, Any], list[Any] | None]:
        """First run, latency over ``runs`` more, then one profiled run; and the outputs. Milliseconds."""
        about = {"version": onnxruntime.__version__}
        if self._session is None:
            return about | {"error": self.error}, None
        try:
            call = ready(self._session, values)
            found, outputs = timed(call, runs, progress)
        except Exception as error:
            return about | {"error": _message(error)}, None
        del call
        self._session = None
        warm = {"warm_up_runs": found.pop("warm_up_runs")}
        first = found["first_ms"] / 1000
        return about | {"load_ms": self._loaded * 1000} | found | {
            "machine": self._machine | warm,
            "profile": profile(self._path, values, folder, model) if first < PROFILE_SECONDS else [],
        }, outputs


def reference(path: Path, values: dict[str, np.ndarray]) -> tuple[dict[str, Any], list[Any] | None]:
    """onnx's own evaluator in Python: slow, and right by definition where it has the operator."""
    start, about = time.perf_counter(), {"version": onnx.__version__}
    try:
        with at_most(REFERENCE_SECONDS):
            model = onnx.load(str(path))
            outputs = ReferenceEvaluator(model, new_ops=reference_patches.operators(model)).run(None, values)
    except TooSlow:
        return about | {"error": f"stopped after {REFERENCE_SECONDS} s: it is slow on big models"}, None
    except MemoryError:
        return about | {"error": "it needs more memory than a job may take"}, None
    except Exception as error:  # depends on the operator: numpy's, onnx's or Python's own
        text = clean(f"{type(error).__name__}: {error}")
        if (lacks := NO_OPERATOR.search(text)) is not None:
            text = f"it has no operator {f'{lacks[2]}.' if lacks[2] else ''}{lacks[1]}"
        return about | {"error": text}, None
    return about | {"first_ms": (time.perf_counter() - start) * 1000}, outputs


def _message(error: Exception) -> str:
    """onnxruntime's words without its numbers; of a fault inside branches only the innermost node and its fault."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", "", " ".join(str(error)[:8000].split()))
    if len(places := text.split("Status Message: ")) > 1:
        named = re.findall(r"Name:'([^']{0,300})'", places[-2])
        text = f"node {named[-1]!r}: {places[-1]}" if named else places[-1]
    return clean(text) or type(error).__name__
