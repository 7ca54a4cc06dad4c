"""Checks whether a reproduced run is identical to the original and, if not, what differs and by how much."""

from __future__ import annotations

from lib.error_measures import absolute_error
from lib.train.compare import differences
from lib.train.run_record import Difference, Reproduction
from lib.train.runs import Run
from lib.train.training import BEST


def verdict(first: Run, again: Run) -> Reproduction:
    """Compare ``again`` with ``first``, the run that it reproduces.

    ``differences`` lists possible causes (versions, threads, processor, device, data), and by how much the weights and
    results differ.
    """
    original, reproduced = first.record(), again.record()
    digests = [record.files[BEST].sha256 if BEST in record.files else None for record in (original, reproduced)]
    same = bool(digests[0]) and digests[0] == digests[1]
    return Reproduction(
        run=again.id,
        of=first.id,
        verdict="identical" if same else "differs",
        sha256=digests[1],
        differences=[] if same else _differences(first, again),
    )


def _differences(first: Run, again: Run) -> list[Difference]:
    original, reproduced = first.read(), again.read()
    rows = [
        d
        for part in ("environment", "weights", "split")
        for d in differences(original.get(part), reproduced.get(part), part)
    ]
    data = [record.data.fingerprint for record in (first.record(), again.record())]
    rows += differences(*data, "data.fingerprint")
    rows += differences(*((record.get("result") or {}).get("accuracy") for record in (original, reproduced)), "accuracy")
    if (largest := _apart(first, again)) is not None:
        rows.append(Difference(what="largest difference of a weight", first=0.0, second=largest))
    return rows


def _apart(first: Run, again: Run) -> float | None:
    """Returns the largest absolute difference of any weight, or None if the networks differ in structure."""
    from safetensors.numpy import load_file

    try:
        original, reproduced = load_file(first.folder / BEST), load_file(again.folder / BEST)
    except (OSError, ValueError):
        return None
    if {k: v.shape for k, v in original.items()} != {k: v.shape for k, v in reproduced.items()}:
        return None
    return max((float(absolute_error(original[k], reproduced[k]).max(initial=0.0)) for k in original), default=0.0)
