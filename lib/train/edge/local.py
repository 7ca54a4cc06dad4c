"""Runs exports without the app: from a script, a notebook or the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib.convert.service.converter import Converter
from lib.jobs import Job, Jobs, Limits
from lib.settings import Settings
from lib.train.edge.export import Exporter
from lib.train.runs import Run


class LocalHost:
    """A host for ``Exporter``. ``homes`` maps run ids to dataset folders."""

    def __init__(self, settings: Settings, homes: Mapping[str, Path]) -> None:
        self.settings, self._homes = settings, homes
        self._jobs = Jobs(workers=1, waiting=8)
        wall = max(settings.job_seconds, 900)
        self._limits = Limits(memory_mb=settings.job_memory_mb, wall_seconds=wall, cpu_seconds=4 * wall)

    def data_home(self, run: Run) -> Path:
        return self._homes[run.id]

    def job(self, task: str, arguments: dict[str, Any]) -> Job:
        return self._jobs.submit(task, arguments, limits=self._limits)

    def close(self) -> None:
        self._jobs.close()


@contextmanager
def exporter(homes: Mapping[str, Path], settings: Settings | None = None) -> Iterator[Exporter]:
    """Context manager for an exporter: ``with exporter({run.id: data.home}) as e: e.export(run, "tflite").result()``.

    ``data.home`` must contain the dataset's data.json (``DataSet.save``). Leaving the context stops the processes.
    """
    settings = settings or Settings.from_environment()
    local, converter = LocalHost(settings, homes), Converter(settings)
    converter.start()
    try:
        yield Exporter(local, converter)
    finally:
        converter.close()
        local.close()
