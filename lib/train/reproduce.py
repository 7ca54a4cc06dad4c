"""Whether a run that was made again is the same, and if not, what differs and by how much."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lib.train.compare import differences
from lib.train.recipe import Recipe
from lib.train.runs import Run
from lib.train.training import BEST


def recipe_of(record: dict[str, Any]) -> Recipe:
    """The recipe as it was carried out: with the threads that it had."""
    recipe = Recipe.parse(record["recipe"])
    threads = (record.get("environment") or {}).get("threads")
    return replace(recipe, threads=int(threads)) if threads else recipe


def verdict(first: Run, again: Run) -> dict[str, Any]:
    """``verdict`` is "identical" where the weights' sha256 are equal, else "differs"; ``differences`` says what may be why
    (versions, threads, processor, device, data) and by how much the weights and results are apart."""
    one, two = first.read(), again.read()
    sums = [((r.get("files") or {}).get(BEST) or {}).get("sha256") for r in (one, two)]
    if sums[0] and sums[0] == sums[1]:
        return {"run": again.id, "of": first.id, "verdict": "identical", "sha256": sums[0], "differences": []}
    found = []
    for part in ("environment", "weights", "split"):
        found += differences(one.get(part) or {}, two.get(part) or {}, part)
    if one["data"].get("fingerprint") != two["data"].get("fingerprint"):
        found += differences(one["data"].get("fingerprint"), two["data"].get("fingerprint"), "data.fingerprint")
    found += differences((one.get("result") or {}).get("accuracy"), (two.get("result") or {}).get("accuracy"), "accuracy")
    if (apart := _apart(first, again)) is not None:
        found.append({"what": "largest difference of a weight", "first": 0.0, "second": apart})
    return {"run": again.id, "of": first.id, "verdict": "differs", "sha256": sums[1], "differences": found}


def _apart(first: Run, again: Run) -> float | None:
    """The largest absolute difference of any weight; None where the networks are not alike."""
    from safetensors.numpy import load_file

    try:
        one, two = load_file(first.folder / BEST), load_file(again.folder / BEST)
    except (OSError, ValueError):
        return None
    if {k: v.shape for k, v in one.items()} != {k: v.shape for k, v in two.items()}:
        return None
    return max((float(np.abs(one[k].astype(np.float64) - two[k]).max(initial=0)) for k in one), default=0.0)
