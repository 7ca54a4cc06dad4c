"""Whether a run that was made again is the same, and if not, what differs and by how much."""

from __future__ import annotations

from lib.error_measures import absolute_error
from lib.train.compare import differences
from lib.train.run_record import Difference, Reproduction
from lib.train.runs import Run
from lib.train.training import BEST


def verdict(first: Run, again: Run) -> Reproduction:
    """Of ``again``, which repeats ``first``. ``differences`` says what may be why (versions, threads, processor, device,
    data), and by how much the weights and results differ."""
    one, two = first.record(), again.record()
    sums = [record.files[BEST].sha256 if BEST in record.files else None for record in (one, two)]
    same = bool(sums[0]) and sums[0] == sums[1]
    return Reproduction(
        run=again.id,
        of=first.id,
        verdict="identical" if same else "differs",
        sha256=sums[1],
        differences=[] if same else _differences(first, again),
    )


def _differences(first: Run, again: Run) -> list[Difference]:
    one, two = first.read(), again.read()
    found = [d for part in ("environment", "weights", "split") for d in differences(one.get(part), two.get(part), part)]
    data = [record.data.fingerprint for record in (first.record(), again.record())]
    found += differences(*data, "data.fingerprint")
    found += differences(*((record.get("result") or {}).get("accuracy") for record in (one, two)), "accuracy")
    if (apart := _apart(first, again)) is not None:
        found.append(Difference(what="largest difference of a weight", first=0.0, second=apart))
    return found


def _apart(first: Run, again: Run) -> float | None:
    """The largest absolute difference of any weight; None where the networks are not alike."""
    from safetensors.numpy import load_file

    try:
        one, two = load_file(first.folder / BEST), load_file(again.folder / BEST)
    except (OSError, ValueError):
        return None
    if {k: v.shape for k, v in one.items()} != {k: v.shape for k, v in two.items()}:
        return None
    return max((float(absolute_error(one[k], two[k]).max(initial=0.0)) for k in one), default=0.0)
