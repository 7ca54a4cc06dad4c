"""Export jobs that run in a child process: one function per step, JSON in and out (``lib/jobs.py``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lib.settings import prepare_library
from lib.train.data import DataSet
from lib.train.edge import targets
from lib.train.runs import Run

Progress = Callable[..., None]


def onnx(progress: Progress, run: str, out: str, about: dict[str, str], backbones: list[str]) -> dict[str, Any]:
    """Write ``out/model.onnx``; returns an ``OnnxFile``."""
    prepare_library(KERAS_BACKEND="torch")
    from lib.train.edge.onnx_file import write

    progress("Exporting to ONNX")
    return asdict(write(Run(Path(run)), Path(out) / "model.onnx", about, tuple(backbones)))


def prepare(progress: Progress, run: str, data: str, onnx: str, out: str) -> dict[str, Any]:
    """Write the converter's inputs: ``out/samples.zip`` with training images and, given an ONNX file, ``out/model.onnx``
    with a batch size of 1.

    Returns a ``SamplesFile``.
    """
    from lib.train.edge.onnx_file import fixed
    from lib.train.handover import calibration_samples

    progress("Sampling training pictures")
    samples = calibration_samples(Run(Path(run)), DataSet.load(Path(data)), Path(out))
    if onnx:
        fixed(Path(onnx), Path(out) / "model.onnx")
    return asdict(samples)


def check(
    progress: Progress, run: str, data: str, source: str, target: str, out: str, about: dict[str, str], backbones: list[str]
) -> dict[str, Any]:
    """Write ``out/<the target's file>`` with its metadata; returns its row."""
    prepare_library(KERAS_BACKEND="torch")
    from lib.train.edge import checking

    progress("Comparing with the trained network")
    chosen = targets.find(target)
    arguments = Run(Path(run)), DataSet.load(Path(data)), Path(source), chosen, Path(out)
    return checking.check(*arguments, about, tuple(backbones)).as_dict()
