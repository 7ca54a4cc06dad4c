"""The training tab. Also runs standalone: ``python spaces/train/app.py``."""

import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve()
    sys.path.insert(0, str(next(p for p in here.parents if (p / "lib").is_dir())))
    from web.shell import main

    sys.exit(main([here.parent]))  # loads this file again, as part of a package

import threading
from typing import Any

from starlette.routing import BaseRoute

from lib.convert.service.converter import Converter
from lib.settings import Settings
from lib.train.board import Boards
from lib.train.edge.export import Exporter
from lib.train.edge.running_export import Exports
from lib.train.trainer import Trainer
from web.visit import Visit

from . import (
    api,
    api_export,
    api_watch,
    board_routes,
    files,
    in_browser,
    page,
    rest,
    rest_export,
    rest_watch,
    view,
    view_export,
    view_try,
    view_watch,
)

SWEEP_SECONDS = 60.0


class Train:
    """Runs trainings as jobs and exposes them through the page, the Gradio API, REST, TensorBoard and file downloads."""

    title = "Train"
    slug = "train"
    css = view.CSS + view_try.CSS + view_export.CSS + view_watch.CSS + in_browser.CSS
    visit: Visit

    def __init__(self, settings: Settings) -> None:
        self.settings, self.trainer, self.boards = settings, Trainer(settings), Boards()
        self.converter = Converter(settings)  # starts its processes on the first export
        self.exporter = Exporter(self.trainer, self.converter)
        self.exports = Exports(self.exporter)  # started from pages; they continue when the page is closed
        self._closed = threading.Event()

    def build(self) -> None:
        self.offers = page.build(self.trainer, self.exports, self.visit)
        api.build(self.trainer)
        api_export.build(self.trainer, self.exporter)
        api_watch.build(self.trainer)

    def routes(self) -> list[BaseRoute]:
        routes = [*rest.routes(self.trainer), *files.routes(self.trainer), *rest_watch.routes(self.trainer)]
        routes += rest_export.routes(self.trainer, self.exporter)
        return [*routes, *board_routes.routes(self.trainer.visitors.runs_of, self.boards)]

    def health(self) -> dict[str, Any]:
        return {"training": self.trainer.status()}

    def gauges(self) -> dict[str, Any]:
        return {"classify_drifting": [((test,), float(n)) for test, n in self.trainer.monitoring.drifting().items()]}

    def start(self) -> None:
        """Start the sweep thread. The fork servers start on first use."""
        threading.Thread(target=self._sweep, name="train-sweep", daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        self.exports.close()
        self.converter.close()
        self.trainer.close()
        self.boards.close()

    def _sweep(self) -> None:
        while not self._closed.wait(SWEEP_SECONDS):
            self.trainer.sweep()
            self.exports.sweep()


TAB = Train
