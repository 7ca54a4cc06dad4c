"""Monitoring jobs that run in a child process: JSON in and out (``lib/jobs.py``)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.settings import prepare_library
from lib.train.data import DataSet
from lib.train.network_cache import LoadedRun
from lib.train.runs import Run
from lib.train.schema import to_json


def reference(progress: Callable[..., None], run: str, data: str, backbones: list[str]) -> dict[str, Any]:
    """Build the drift reference of a run from its dataset; returns a ``ReferenceInfo``."""
    prepare_library(KERAS_BACKEND="torch")
    from lib.train.monitoring.reference import ImageNetFeatures, make

    target = Run(Path(run))
    return to_json(make(target, DataSet.load(Path(data)), LoadedRun(target, tuple(backbones)), ImageNetFeatures(), progress))
