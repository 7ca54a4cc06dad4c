"""Runs one edge as a conversion would, without its job: for tests of edges."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from lib.convert.edges import edges


def convert(source: str, target: str, folder: Path, out: Path, **given: Any) -> dict[str, Any]:
    """Defaults of the edge's options, but ``given``. Returns what the edge returns, {} for None."""
    found = edges()[source, target]
    options = {"sizes": {}, "samples": None, "min_agreement": 0.95} | {o.name: o.default for o in found.options}
    assert given.keys() <= options.keys()
    module, name = found.run.split(":")
    out.mkdir(parents=True)
    shares: list[float] = []

    def progress(stage: str, share: float | None = None) -> None:
        assert stage
        shares.extend([] if share is None else [share])

    result = getattr(importlib.import_module(module), name)(progress, folder, out, options | given)
    assert shares == sorted(shares) and all(0 <= s <= 1 for s in shares)
    return result or {}


def compare(progress: Any, file: str, target: str, options: dict[str, Any], folder: str) -> dict[str, Any]:
    """``compared`` as a job, for edges and runners of another environment."""
    return compared(Path(file), target, options, Path(folder))


def compared(file: Path, target: str, options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Takes a file in, converts it, and runs both. ``said``, ``cases``, ``errors``: by output, a share of its range.

    An error is NaN where a value of the target is not finite.
    """
    from lib.convert.intake.admit import admit_upload

    (folder / "source").mkdir()
    format, _ = admit_upload({file.name: file}, folder / "source")
    said = convert(format, target, folder / "source", folder / "target", **options)
    return measured(format, folder / "source", target, folder / "target", said)


def measured(format: str, source: Path, target: str, made: Path, said: dict[str, Any]) -> dict[str, Any]:
    """What ``compared`` answers, of two artifacts and what the edge said."""
    import numpy as np

    from lib.convert.formats import load
    from lib.convert.proof import cases as proof_cases
    from lib.convert.proof.pairing import pair
    from lib.model_inputs.signature import dtype

    ours, theirs = load(format, source), load(target, made)
    given, got = ours.signature(), theirs.signature()
    ins = pair([v.name for v in given.inputs], [v.name for v in got.inputs], said.get("inputs", {}))
    outs = pair([v.name for v in given.outputs], [v.name for v in got.outputs], said.get("outputs", {}))
    kinds = {v.name: dtype(v.dtype) for v in got.inputs}
    cases = proof_cases.cases(given, fixed=said.get("fixed", {}), wide=False)
    errors, peaks = dict.fromkeys(outs, 0.0), dict.fromkeys(outs, 1e-6)
    for case in cases:
        wanted = ours.run(case.arrays)
        found = theirs.run({ins[name]: value.astype(kinds[ins[name]]) for name, value in case.arrays.items()})
        for name, value in wanted.items():
            a, b = value.astype(np.float64), found[outs[name]].astype(np.float64)
            assert a.shape == b.shape
            gap = float(np.abs(a - b).max(initial=0)) if np.isfinite(b).all() else float("nan")
            errors[name] = float(np.maximum(errors[name], gap))  # NaN stays
            peaks[name] = max(peaks[name], float(np.abs(a).max(initial=0)))
    shares = {name: error / peaks[name] for name, error in errors.items()}
    return {"said": {"lost": [], "messages": []} | said, "cases": len(cases), "errors": shares}
