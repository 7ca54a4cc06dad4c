"""Inputs to measure ranges on: the calibration half of a visitor's samples, else made-up ones. Knows nothing of models."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lib.convert.proof import cases as proof_cases
from lib.errors import InvalidFile
from lib.model_inputs import made_up
from lib.model_inputs.signature import Signature, dtype

MAX_SAMPLES = 128  # samples; more move no range that matters
Row = dict[str, np.ndarray]


@dataclass(slots=True)
class Calibration:
    """``rows`` by the model's input names; ``real`` where they are a visitor's; ``message`` says which and how many."""

    rows: list[Row]
    real: bool
    message: str
    messages: list[str] = field(default_factory=list)


def gathered(signature: Signature, options: dict[str, Any]) -> Calibration:
    """Of an edge's options ``samples``, ``sizes`` and ``random_samples``. Raises InvalidFile for samples that do not fit.

    The other half of the samples is what the file is judged on: it stays unseen here.
    """
    if options.get("samples"):
        return _real(signature, Path(options["samples"]))
    rows = made(signature, int(options.get("random_samples") or 64), options.get("sizes") or {})
    return Calibration(
        rows,
        False,
        f"Ranges were measured on {len(rows)} made-up inputs, because no samples were given. "
        "They need not fit real inputs: send samples before using this model.",
    )


def made(signature: Signature, count: int, sizes: dict[str, int]) -> list[Row]:
    """``count`` inputs of a random stream of their own: lifelike ones where it is known what such a model sees, else
    noise, every fourth of other sizes where the model's are free."""
    sizes = proof_cases.cases(signature, (0,), sizes, stream=proof_cases.CALIBRATION, only_first=True)[0].sizes
    out: list[Row] = []
    for seed in range(count):
        made = made_up.lifelike(signature, sizes, np.random.default_rng([seed, proof_cases.CALIBRATION]))
        if made is None:
            others = proof_cases.resized(signature, (seed,), sizes, stream=proof_cases.CALIBRATION) if seed % 4 == 3 else []
            found = others or proof_cases.cases(signature, (seed,), sizes, stream=proof_cases.CALIBRATION, only_first=True)
            made = found[0].arrays
        out.append(made)
    return out


def _real(signature: Signature, folder: Path) -> Calibration:
    from lib.model_inputs import samples

    found = samples.load(folder)
    half, judged = samples.halves(found)
    chosen = [half[k] for k in np.linspace(0, len(half) - 1, min(len(half), MAX_SAMPLES)).astype(int)] if half else []
    chosen = list(np.random.default_rng(0).permutation(chosen))  # whoever takes only the first sees all classes
    rows = [_fitted(found.rows[k], signature) for k in chosen]
    if not rows:
        raise InvalidFile("The samples are empty. Send at least one.")
    shared = set(half) & set(judged)
    said = f"Ranges were measured on {len(rows)} of the {len(found.rows)} samples" + (
        "; there are too few to keep some apart for judging." if shared else "; the others judge the file."
    )
    return Calibration(rows, True, said)


def _fitted(row: Row, signature: Signature) -> Row:
    """Raises InvalidFile for a row that is not this model's."""
    out = {}
    for value in signature.inputs:
        if value.name not in row:
            raise InvalidFile(f"The samples have no values for the model's input {value.name[:80]!r}.")
        given, shape = row[value.name], value.shape
        if given.ndim != len(shape) or any(
            not isinstance(d, str) and d != n for d, n in zip(shape, given.shape, strict=True)
        ):
            raise InvalidFile(f"{value.name[:80]!r} takes {list(shape)}; a sample has {list(given.shape)}.".replace("'", ""))
        out[value.name] = np.ascontiguousarray(given, dtype(value.dtype))
    return out
