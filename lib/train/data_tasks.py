"""Dataset jobs that run in a child process: one function per task, JSON in and out (``lib/jobs.py``).

Each returns a ``DataSummary`` as JSON.
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
    """Unpack an uploaded zip to ``home/pictures``, scan it and save the dataset.

    The unpacked files are removed again if they are not a valid dataset.
    """
    folder = Path(home) / "pictures"
    folder.mkdir(parents=True)  # fails if it exists, so that the cleanup below never removes another job's files
    try:
        left_out = unpack(Path(archive), folder, progress=progress)
        data = DataSet.scan(folder, Path(home), progress, left_out.items())
        data.save()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return asdict(summarize(data, name))


def make(progress: Progress, name: str, home: str) -> dict[str, Any]:
    """Create a built-in dataset."""
    return asdict(summarize(datasets.make(name, Path(home), progress), name))


def fetch(progress: Progress, name: str, home: str, allowed: bool) -> dict[str, Any]:
    """Fetch, scan and save ``hub:owner/name``."""
    return asdict(summarize(from_hub(name, Path(home), allowed=allowed, progress=progress), name))


def describe(progress: Progress, name: str, home: str) -> dict[str, Any]:
    """Summarize a saved dataset."""
    return asdict(summarize(DataSet.load(Path(home)), name))
