"""Mirrors runs to Trackio. Requires ``pip install trackio``; this app does not.

Trackio's own environment selects the destination: ``TRACKIO_DIR`` (a folder of SQLite files) or ``TRACKIO_SPACE_ID`` (a
Space). All runs of this app form one project, visible to everyone with access to it, so this is the operator's choice
and never a visitor's. Trackio does not support graphs, embeddings and precision-recall curves, and cannot drop what an
interrupted run logged after its last checkpoint.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.errors import InvalidValue
from lib.train.trackers.registry import register
from lib.train.trackers.values import KINDS, Histogram, HyperParameters, Picture, Text

PROJECT = "model-workbench"


@register("trackio")
def open_trackio(folder: Path, run: str, first_step: int) -> Trackio:
    if importlib.util.find_spec("trackio") is None:
        raise InvalidValue("tracker", "trackio", "one whose package is installed; pip install trackio")
    return Trackio(run, resumed=first_step > 1)


class Trackio:
    """Hyperparameters are logged as the run's configuration, whenever they arrive."""

    def __init__(self, run: str, *, resumed: bool = False) -> None:
        self._name = run
        self._run = self._open(resume="allow" if resumed else "never")
        self._run._config_logged = True  # Trackio sends it once, with the first values; ours may come last
        self._closed = False

    def log(self, values: Mapping[str, Any], step: int) -> None:
        import trackio

        shown: dict[str, Any] = {}
        for tag, value in values.items():
            if isinstance(value, HyperParameters):
                self._run.config.update(value.values)
                self._run._config_logged = False  # send it with these values
                shown |= value.results
            elif isinstance(value, Histogram) and value.number:
                shown[tag] = trackio.Histogram(np_histogram=(value.counts, value.edges))
            elif isinstance(value, Picture):
                shown[tag] = trackio.Image(value.pixels)
            elif isinstance(value, Text):
                shown[tag] = trackio.Markdown(value.markdown)
            elif not isinstance(value, KINDS):
                shown[tag] = value
        if shown:
            self._run.log(shown, step=step)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        from trackio import context_vars

        with contextlib.redirect_stdout(io.StringIO()):
            self._run.finish()
        if context_vars.current_run.get() is self._run:
            context_vars.current_run.set(None)  # otherwise it is finished again, with output, at exit

    def _open(self, resume: str) -> Any:
        import trackio

        # init prints a local path; automatic logging would record the load of the whole machine instead of the run's
        with contextlib.redirect_stdout(io.StringIO()):
            return trackio.init(
                project=PROJECT, name=self._name, resume=resume, embed=False, auto_log_cpu=False, auto_log_gpu=False
            )
