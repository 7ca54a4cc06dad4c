"""Judges a lossy file: are its errors those of its precision (emulation), and does it still do its task (quality)?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib.convert.core import arrays
from lib.convert.proof.comparison import Faithfulness
from lib.convert.proof.quality import TaskQuality, measure_all
from lib.convert.worker.outputs import Outputs

LOSSY = ("fp16", "int8")
EMULATED = {"sample": 8, "lifelike": 2, "ordinary": 2, "resized": 2}  # cases of each kind that the emulation runs
EMULATED_FP16 = {"large": 4}  # these expose wrong limits; int8 is limited by its ranges anyway
MAX_SAMPLES = 12  # samples that the emulation runs if it runs nothing else
MADE_UP = ("lifelike", "ordinary", "resized")


def emulation_verdict(
    before: Outputs, after: Outputs, source_runs: Path, cases: list[dict[str, Any]], precision: str, hop: dict[str, Any]
) -> Faithfulness | None:
    """Returns the emulation's verdict on the last hop (``emulation/faithfulness.py``); None if it has none or did not run.

    ``before`` and ``after`` are the outputs of the hop's source and target, under the names of the route's source.
    """
    from lib.convert.emulation import faithfulness
    from lib.convert.emulation.emulated import emulated
    from lib.errors import WorkbenchError

    chosen, expected, ours, feeds = [], [], [], []
    for case in _cases_to_emulate(cases, precision):
        e, o = before.of(case["file"]), after.of(case["file"])
        if e is None or o is None or any(n not in o or o[n].shape != e[n].shape for n in e):
            continue
        inputs = arrays.load(source_runs / f"in-{case['file']}")
        chosen.append(case)
        expected.append({hop["outputs"].get(n, n): v for n, v in e.items()})
        ours.append({hop["outputs"].get(n, n): v for n, v in o.items()})
        feeds.append(_cast({hop["inputs"][n]: v for n, v in inputs.items() if n in hop["inputs"]}, hop["dtypes"]))
    if not chosen:
        return None
    try:
        emulation = emulated(hop["format"], Path(hop["source"]), Path(hop["target"]), feeds)
    except (WorkbenchError, MemoryError):
        return None  # the tolerance decides, as for formats without an emulation
    return None if emulation is None else faithfulness.assess(expected, ours, emulation, precision)


def _cases_to_emulate(cases: list[dict[str, Any]], precision: str) -> list[dict[str, Any]]:
    """Returns samples, if there are any, and noise, which reaches values that samples do not.

    For int8, returns only the samples if there are any: its ranges end where theirs do, so noise would be clipped.
    """
    real = [c for c in cases if c["kind"] == "sample"]
    if real and precision == "int8":
        return real[:MAX_SAMPLES]
    out = []
    for kind, limit in (EMULATED | (EMULATED_FP16 if precision == "fp16" else {})).items():
        out += [c for c in cases if c["kind"] == kind][:limit]
    return out


def _cast(inputs: arrays.Arrays, dtypes: dict[str, str]) -> arrays.Arrays:
    from lib.model_inputs.signature import dtype

    return {n: v if v.dtype == object else v.astype(dtype(dtypes[n]), copy=False) for n, v in inputs.items()}


def quality(
    source: Outputs, target: Outputs, cases: list[dict[str, Any]], precision: str, masks: Sequence[str], floor: float
) -> TaskQuality | None:
    """Measures how well the target does the source's task: on all samples, or on made-up inputs if there are none."""
    real = [c for c in cases if c["kind"] == "sample"]
    judged = real or _made_up(cases)
    expected, ours, labels, padding = [], [], [], []
    for case in judged:
        e, o = source.of(case["file"]), target.of(case["file"])
        if e is None or o is None:
            continue
        expected.append(e)
        ours.append(o)
        labels.append(case.get("label"))
        padding.append(_mask(source.folder / f"in-{case['file']}", masks))
    if not expected:
        return None
    options = {
        "labels": labels if all(label is not None for label in labels) else None,
        "masks": padding if all(m is not None for m in padding) else None,
        "min_agreement": floor,
    }
    return measure_all(list(expected[0]), expected, ours, precision, on="samples" if real else "made-up inputs", **options)


def _made_up(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns lifelike inputs if the model's kind is known, else noise."""
    lifelike = [c for c in cases if c["kind"] == "lifelike"]
    return lifelike or [c for c in cases if c["kind"] in MADE_UP]


def _mask(path: Path, names: Sequence[str]) -> np.ndarray | None:
    """Returns the first mask among the inputs, [rows, positions], 1 for positions that count; None if there is none.

    Padding masks are skipped, since models disagree on whether their ones mark padding or real positions.
    """
    names = [n for n in names if "pad" not in n.lower()]
    if not names:
        return None
    inputs = arrays.load(path)
    return next((inputs[n] for n in names if n in inputs and inputs[n].ndim == 2), None)
