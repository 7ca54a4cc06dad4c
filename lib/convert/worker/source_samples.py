"""Uploaded samples: reads them for the source's signature, splits them, runs the source on them, summarises them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lib.convert.proof import cases as proof_cases
from lib.convert.worker.source_runs import SourceRuns
from lib.errors import InvalidFile
from lib.model_inputs.samples import Samples, halves, read
from lib.model_inputs.signature import Signature
from lib.model_inputs.stored import save
from lib.model_inputs.text_files import tokenizer_in

MAX_JUDGED, MAX_BYTES = 512, 512 << 20  # number of samples run, and bytes of their inputs and outputs


def read_samples(
    upload: dict[str, Any], signature: Signature, sizes: dict[str, int], folder: Path, hints: dict[str, Any]
) -> Samples:
    """Reads the file of ``upload`` (``path``, ``name``, ``preprocessing``) and saves it to its ``folder`` for the edges.

    Raises InvalidFile for bad samples.
    """
    samples = read(
        Path(upload["path"]),
        upload["name"],
        signature,
        preprocessing=upload.get("preprocessing"),
        sizes=sizes,
        tokenizer=tokenizer_in(folder),
        hints=hints,
    )
    if not samples.rows:
        raise InvalidFile("There are no samples in the file.")
    widths = {v.shape[-1] for v in signature.outputs if v.shape and isinstance(v.shape[-1], int)}
    if samples.kind == "pictures" and samples.labels is not None and widths and len(samples.classes) not in widths:
        samples.labels = None  # the folders are not the model's classes
        several = " or ".join(map(str, sorted(widths)[:3]))
        samples.messages.append(
            f"The labels were left out: {len(samples.classes)} folders, and the model has {several} classes."
        )
    save(samples, Path(upload["folder"]))
    return samples


def sizes_of(samples: Samples | None, signature: Signature, sizes: dict[str, int]) -> dict[str, int]:
    """Returns the sizes of dynamic dimensions in the first sample, except those in ``sizes``."""
    sample_sizes: dict[str, int] = {}
    for value in signature.inputs if samples else ():
        row = samples.rows[0].get(value.name)
        if row is not None and row.ndim == len(value.shape):
            sample_sizes |= {
                d: n for d, n in zip(value.shape, row.shape, strict=True) if isinstance(d, str) and d not in sizes
            }
    return sample_sizes


def run_samples(runs: SourceRuns, samples: Samples, rows: list[int]) -> list[int]:
    """Runs the source on ``rows`` in random order; returns the ones that ran. Raises InvalidFile for a refused sample."""
    done: list[int] = []
    # files are often sorted by class or time, so the first few do not represent the rest
    for number in np.random.default_rng([len(rows), proof_cases.ORDER]).permutation(rows)[:MAX_JUDGED].tolist():
        if runs.bytes > MAX_BYTES:
            break
        label = samples.labels[number] if samples.labels is not None else None
        if not runs.run_case(proof_cases.Case("sample", number, {}, samples.rows[number]), label):
            raise InvalidFile(f"The model refuses sample {number + 1} of the file: {runs.refused[-1][1]}")
        done.append(number)
    return done


def summary(samples: Samples, name: str, calibration: list[int], judged: list[int]) -> dict[str, Any]:
    """Returns the report's entry ``samples``."""
    return {
        "name": name,
        "kind": samples.kind,
        "count": len(samples.rows),
        "labels": samples.labels is not None,
        "classes": samples.classes[:1000],
        "preprocessing": samples.preprocessing.as_dict() if samples.preprocessing else None,
        "calibration": len(calibration),
        "judged": len(judged),
        "shared": len(set(calibration) & set(judged)),
        "messages": samples.messages,
    }


def split(samples: Samples, calibrated: bool) -> tuple[list[int], list[int]]:
    """Returns (calibration, judged) row indices. Samples that ranges are measured on are not used for the proof."""
    return halves(samples) if calibrated else ([], list(range(len(samples.rows))))
