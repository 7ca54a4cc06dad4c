"""The source's side of the proof: checks the source, finds sizes that it accepts, and runs it on the cases.

Runs before any conversion, so that no tool is blamed for a fault of the source, and so that a tool which must fix a
dimension fixes it to a size that the source accepts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.core import arrays, signatures
from lib.convert.core.runner import Checked, CoverageChecked, Hinting, Runner
from lib.convert.formats import find, load
from lib.convert.proof import cases as proof_cases
from lib.convert.proof.tolerances import EXTREME
from lib.convert.worker import source_samples, source_sizes, timing
from lib.convert.worker.source_runs import CASE_SECONDS, SourceRuns, same_outputs
from lib.model_inputs import sizes as dimensions
from lib.model_inputs.hints import in_folder

Answer = dict[str, Any]
PERTURBED_PER_KIND = 2
MAX_CASES_CHECKED = 40  # inputs passed to the runner's ``blind_spots``


def run_source(
    progress: Any,
    format: str,
    folder: str,
    out: str,
    seeds: list[int],
    sizes: dict[str, int],
    samples: dict[str, Any] | None = None,
    calibrated: bool = False,
    timed: bool = True,
    one_signature: str | None = None,
) -> Answer:
    """Checks the source, finds sizes that it accepts, reads the samples, makes the cases and runs the source on them.

    - ``samples``: ``path``, ``name``, ``preprocessing``, and the ``folder`` to store them in
    - ``calibrated``: keep half of the samples for calibration
    - ``timed``: False if the source will be timed together with the target
    - ``one_signature``: the signature to convert if the target holds only one ("" for the default); else None

    Raises InvalidFile for a bad source or bad samples, InvalidValue for sizes of unknown dimensions.
    """
    progress("Checking the source")
    runner = load(format, Path(folder))
    if one_signature is not None and len(getattr(runner, "signatures", ())) > 1:
        signatures.pick(Path(folder), one_signature, runner.signatures)
        runner = load(format, Path(folder))
    if isinstance(runner, Checked):
        runner.check()
    signature, runs = runner.signature(), SourceRuns(runner, Path(out))
    dimensions.check(sizes, signature)
    hints = _hints(runner, Path(folder))
    real = source_samples.read_samples(samples, signature, sizes, Path(folder), hints) if samples else None
    progress("Running the source")
    wide = find(format).on_disk in ("onnx", "pt2")  # other runtimes crash on an invalid index that these refuse
    search = source_sizes.find_sizes(runs, signature, sizes, source_samples.sizes_of(real, signature, sizes), seeds)
    # pictures, waves and texts can be resized: read them again at the sizes that the source accepts
    resizable = real is not None and real.kind != "arrays" and bool(search.sizes)
    if resizable and source_samples.sizes_of(real, signature, {}) != search.sizes:
        real = source_samples.read_samples(samples, signature, search.sizes, Path(folder), hints)
    case_options = {"fixed": search.sizes, "ranges": search.integers or None, "other": search.second or search.sizes}
    for case in proof_cases.cases(signature, tuple(seeds), **case_options, wide=wide, hints=hints):
        if case.kind not in EXTREME or not runs.timed_out.intersection(EXTREME):
            runs.run_case(case)
    source_sizes.run_other_rate(runs, signature, sizes, seeds[0])
    sample_summary = None
    if real is not None:
        calibration, rows = source_samples.split(real, calibrated)
        judged = source_samples.run_samples(runs, real, rows)
        sample_summary = source_samples.summary(real, samples["name"], calibration, judged)
    _run_perturbed(runs)
    probe = next((c for c in runs.cases if c["kind"] == "ordinary"), None) or next(iter(runs.cases), None)
    deterministic = True
    if probe is not None:
        inputs = arrays.load(runs.out / f"in-{probe['file']}")
        deterministic = same_outputs(arrays.load(runs.out / f"out-{probe['file']}"), runs.run(inputs, CASE_SECONDS))
    notes = [
        f"The source refuses {c.kind} inputs: {reason}"
        for c, reason in runs.refused
        if c.kind in ("ordinary", "zeros", "large")
    ]
    return {
        "signature": signature.as_dict(),
        "sizes": search.sizes,
        "sizes_note": search.note if search.before or not search.accepted else "",
        "cases": runs.cases,
        "refused": list(dict.fromkeys(notes))[:4],
        "blind_spots": _blind_spots(runner, runs),
        "constants": runner.constants() if isinstance(runner, Checked) else [],
        "steady": deterministic,
        "median_ms": _milliseconds(runner, runs.out, probe) if probe and timed else None,
        "samples": sample_summary,
    }


def run_further(progress: Any, format: str, folder: str, out: str, sizes: dict[str, int], limits: dict[str, int]) -> Answer:
    """Runs one case per limit of a target, one above the limit. Returns the ``cases`` that the source accepts."""
    progress("Running the source")
    runner = load(format, Path(folder))
    runs = SourceRuns(runner, Path(out), prefix="further-")
    for case in proof_cases.over_limits(runner.signature(), sizes, limits):
        runs.run_case(case)
    return {"cases": runs.cases}


def _hints(runner: Runner, folder: Path) -> dict[str, Any]:
    """Returns what the source states about its preprocessing: in metadata, its first operators or files beside it."""
    return runner.hints() if isinstance(runner, Hinting) else in_folder(folder)


def _run_perturbed(runs: SourceRuns) -> None:
    """Runs realistic inputs with their last bit changed; noise may saturate an output and so hide its rounding."""
    for kind in ("lifelike", "sample"):
        for case in [c for c in runs.cases if c["kind"] == kind][:PERTURBED_PER_KIND]:
            inputs = arrays.load(runs.out / f"in-{case['file']}")
            if any(v.dtype.kind == "f" for v in inputs.values()):
                perturbed = proof_cases.perturbed(inputs, case["seed"])
                runs.run_case(proof_cases.Case(f"perturbed {kind}", case["seed"], case["sizes"], perturbed))


def _blind_spots(runner: Runner, runs: SourceRuns) -> list[str]:
    if not isinstance(runner, CoverageChecked):
        return []
    seen = [c for c in runs.cases if not c["kind"].startswith("perturbed")][:MAX_CASES_CHECKED]
    return runner.blind_spots([arrays.load(runs.out / f"in-{c['file']}") for c in seen])


def _milliseconds(runner: Runner, out: Path, case: Answer) -> float:
    inputs = arrays.load(out / f"in-{case['file']}")
    return timing.measured({"source": lambda: runner.run(inputs)})[0]["source"]
