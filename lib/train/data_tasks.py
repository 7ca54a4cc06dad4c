"""What runs in the child process for data sets: one function a question, JSON in and out (``lib/jobs.py``).

Each answers with a ``DataSummary``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lib.train import datasets
from lib.train.archives import unpack
from lib.train.data import DataSet
from lib.train.data_summary import summarize
from lib.train.hub_data import from_hub

Progress = Callable[..., None]


def take(progress: Progress, archive: str, name: str, home: str) -> dict[str, Any]:
    """Unpacks a visitor's zip to ``home/pictures``, scans and saves it.

    What was unpacked is removed again where it is no data set.
    """
    folder = Path(home) / "pictures"
    folder.mkdir(parents=True)  # fails where there is one: it is not ours to remove
    try:
        left_out = unpack(Path(archive), folder, progress=progress)
        data = DataSet.scan(folder, Path(home), progress, left_out.items())
        data.save()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return asdict(summarize(data, name))


def make(progress: Progress, name: str, home: str) -> dict[str, Any]:
    """One of the data sets that are made here."""
    return asdict(summarize(datasets.make(name, Path(home), progress), name))


def fetch(progress: Progress, name: str, home: str, allowed: bool) -> dict[str, Any]:
    """``hub:owner/name``, fetched, scanned and saved."""
    return asdict(summarize(from_hub(name, Path(home), allowed=allowed, progress=progress), name))


def describe(progress: Progress, name: str, home: str) -> dict[str, Any]:
    """The summary of a data set that was saved before."""
    return asdict(summarize(DataSet.load(Path(home)), name))
