"""Calibration inputs: half of the user's samples if there are any, else made-up ones. Never runs a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lib.convert.proof import cases as proof_cases
from lib.errors import InvalidFile
from lib.model_inputs import made_up
from lib.model_inputs.signature import Signature, dtype

MAX_SAMPLES = 128  # more samples hardly change a range
Row = dict[str, np.ndarray]


@dataclass(slots=True)
class Calibration:
    """``rows`` by the model's input names; ``real``: they are the user's samples; ``message`` says which they are."""

    rows: list[Row]
    real: bool
    message: str
    messages: list[str] = field(default_factory=list)


def gathered(signature: Signature, options: dict[str, Any]) -> Calibration:
    """Returns inputs by an edge's options ``samples``, ``sizes`` and ``random_samples``.

    Never uses the half of the samples that the file is judged on, unless there are too few to split. Raises InvalidFile
    for samples that do not fit the signature.
    """
    if options.get("samples"):
        return _real(signature, Path(options["samples"]))
    rows = made(signature, int(options.get("random_samples") or 64), options.get("sizes") or {})
    return Calibration(
        rows,
        False,
        f"Ranges were measured on {len(rows)} made-up inputs, because no samples were given. They may not fit real "
        "inputs: send samples before using this model.",
    )


def made(signature: Signature, count: int, sizes: dict[str, int]) -> list[Row]:
    """Returns ``count`` inputs from a separate random stream: lifelike ones if the model's kind is known, else noise.

    Every fourth noise input has other sizes if the model has dynamic dimensions.
    """
    sizes = proof_cases.cases(signature, (0,), sizes, stream=proof_cases.CALIBRATION, only_first=True)[0].sizes
    out: list[Row] = []
    for seed in range(count):
        row = made_up.lifelike(signature, sizes, np.random.default_rng([seed, proof_cases.CALIBRATION]))
        if row is None:
            resized_cases = (
                proof_cases.resized(signature, (seed,), sizes, stream=proof_cases.CALIBRATION) if seed % 4 == 3 else []
            )
            cases = resized_cases or proof_cases.cases(
                signature, (seed,), sizes, stream=proof_cases.CALIBRATION, only_first=True
            )
            row = cases[0].arrays
        out.append(row)
    return out


def _real(signature: Signature, folder: Path) -> Calibration:
    from lib.model_inputs import samples

    stored = samples.load(folder)
    half, judged = samples.halves(stored)
    chosen = [half[k] for k in np.linspace(0, len(half) - 1, min(len(half), MAX_SAMPLES)).astype(int)] if half else []
    chosen = list(np.random.default_rng(0).permutation(chosen))  # so that the first few cover all classes
    rows = [_fitted(stored.rows[k], signature) for k in chosen]
    if not rows:
        raise InvalidFile("The samples are empty. Send at least one.")
    shared = set(half) & set(judged)
    message = f"Ranges were measured on {len(rows)} of the {len(stored.rows)} samples" + (
        "; there are too few to hold some out for judging." if shared else "; the others judge the file."
    )
    return Calibration(rows, True, message)


def _fitted(row: Row, signature: Signature) -> Row:
    """Returns the row in the signature's dtypes. Raises InvalidFile for a missing input or another shape."""
    out = {}
    for value in signature.inputs:
        if value.name not in row:
            raise InvalidFile(f"The samples have no values for the model's input {value.name[:80]!r}.")
        array, shape = row[value.name], value.shape
        if array.ndim != len(shape) or any(
            not isinstance(d, str) and d != n for d, n in zip(shape, array.shape, strict=True)
        ):
            raise InvalidFile(f"{value.name[:80]!r} takes {list(shape)}; a sample has {list(array.shape)}.".replace("'", ""))
        out[value.name] = np.ascontiguousarray(array, dtype(value.dtype))
    return out
