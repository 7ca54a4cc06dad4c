"""The inspector tab for ONNX and TensorFlow Lite. Also runs standalone: ``python spaces/onnx_inspect/app.py``."""

import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve()
    sys.path.insert(0, str(next(p for p in here.parents if (p / "lib").is_dir())))
    from web.shell import main

    sys.exit(main([here.parent]))  # loads this file again, as part of a package

from typing import Any

from fastapi.routing import APIRoute

from lib.jobs import Jobs, Limits
from lib.settings import Settings
from web import netron
from web.temporary_files import TemporaryFiles
from web.visit import Visit

from . import api, api_metadata, page, rest, rest_metadata, view, view_links, view_run, view_tflite
from .bench import Bench

GRAPH_HOURS = 2.0  # how long the unguessable URL of a graph is valid


class OnnxInspect:
    """Exposes inspection jobs, which run in child processes, through the page, the Gradio API and REST; serves Netron."""

    title = "Inspect"
    slug = "inspect"
    css = view.CSS + view_links.CSS + view_run.CSS + view_tflite.CSS + netron.CSS
    visit: Visit

    def __init__(self, settings: Settings) -> None:
        limits = Limits(
            memory_mb=settings.job_memory_mb,
            wall_seconds=settings.job_seconds,
            cpu_seconds=4 * settings.job_seconds,  # of all threads together
            file_mb=max(4096, 2 * settings.max_file_mb),
        )
        self.jobs = Jobs(
            workers=settings.jobs,
            waiting=settings.queue_size,
            preload=("lib.onnx_inspect.tasks", "lib.tflite_inspect.tasks"),
        )
        self.shelf = TemporaryFiles(settings.data_folder / "graphs", GRAPH_HOURS)
        self.bench = Bench(self.jobs, limits)
        self.hours, self.max_file_mb = settings.gallery_hours, settings.max_file_mb

    def build(self) -> None:
        opener, offer = page.build(self.bench, self.shelf, self.visit)
        self.opens, self.offers = [opener], [offer]
        api.build(self.bench)
        api_metadata.build(self.bench)

    def routes(self) -> list[APIRoute]:
        return [*self._doors(), *netron.routes(), *self.shelf.routes()]

    def _doors(self) -> list[APIRoute]:
        return [*rest.routes(self.bench, self.max_file_mb), *rest_metadata.routes(self.bench, self.max_file_mb)]

    def health(self) -> dict[str, Any]:
        return {"jobs": self.jobs.status()}

    def start(self) -> None:
        self.bench.folders.sweep(self.hours)
        self.jobs.start()

    def close(self) -> None:
        self.jobs.close()
        self.bench.folders.close()
        self.shelf.clear()


TAB = OnnxInspect
