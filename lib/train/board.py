"""TensorBoard's own app for a folder of runs, as WSGI: one board a folder, no server, no thread of its own.

Boards share one copy of the page's files. A board reads new events when it is asked for data, at most
every few seconds; its folder need not exist yet. No answer holds a path of this machine. Importing
this imports no tensorboard (0.4 s, 35 MB): the first board does. Knows nothing of visitors, tokens
and the framework that serves it.
"""

from __future__ import annotations

import argparse
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

RELOAD_SECONDS = 2.0
IDLE_SECONDS = 1800.0  # a page that is open asks every half minute
SAMPLES = {"histograms": 50}  # kept of each series in place of 500; a run of 30 epochs with 149 of them takes 10 MB

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

# Old addresses that TensorBoard sends to "/", which is another page here.
GONE = ("/audio", "/events", "/graphs", "/histograms", "/images")

log = logging.getLogger(__name__)


class Boards:
    """The boards of the last ``most`` folders that were looked at; one that was dropped is built again when asked for.

    A board reads new events at most once in ``every`` seconds, and is dropped after ``idle`` seconds
    without a request: what it has read is in memory.
    """

    def __init__(self, most: int = 20, every: float = RELOAD_SECONDS, idle: float = IDLE_SECONDS) -> None:
        self._most, self._every, self._idle = most, every, idle
        self._boards: OrderedDict[Path, Board] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._boards)

    def app(self, folder: Path) -> WSGI:
        """The board of ``folder``. Building the first takes a second, each other one some milliseconds."""
        with self._lock:
            if (board := self._boards.pop(folder, None)) is None:
                board = Board(folder, self._every)
            self._boards[folder] = board
            board.asked = now = time.monotonic()
            while len(self._boards) > self._most or next(iter(self._boards.values())).asked < now - self._idle:
                self._boards.popitem(last=False)
        return board

    def close(self) -> None:
        """Forgets every board. A request that is being answered ends as usual."""
        with self._lock:
            self._boards.clear()


class Board:
    """A WSGI app. Safe in several threads: one reads new events, the others answer with what is there."""

    def __init__(self, folder: Path, every: float) -> None:
        from tensorboard.backend.application import TensorBoardWSGIApp
        from tensorboard.backend.event_processing import data_ingester
        from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
        from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

        self._folder, self._every, self.asked = str(folder), every, 0.0
        self._events = EventMultiplexer(
            size_guidance=data_ingester.DEFAULT_SIZE_GUIDANCE,
            tensor_size_guidance=data_ingester.DEFAULT_TENSOR_SIZE_GUIDANCE | SAMPLES,
        )
        self._app = TensorBoardWSGIApp(
            # the projector needs the folder; whoever shows it is answered below
            argparse.Namespace(
                logdir=self._folder, logdir_spec="", samples_per_plugin={}, window_title="TensorBoard", path_prefix=""
            ),
            _plugins(),
            data_provider=MultiplexerDataProvider(self._events, ""),
            assets_zip_provider=None,  # each board would compress all files anew, and keep them: 7 MB
            deprecated_multiplexer=self._events,
        )
        # after every prefix is stripped and every slash is cleaned: no other spelling gets round them
        self._app.exact_routes.update(_files())
        self._app.exact_routes["/data/logdir"] = _answer({"logdir": ""})
        self._app.exact_routes["/data/notifications"] = _answer({"notifications": []})  # the wheel has no such file
        for path in GONE:
            self._app.exact_routes.pop(path, None)
        self._loading = threading.Lock()
        self._loaded, self._next = False, 0.0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        from werkzeug.wrappers import Response

        path = environ.get("PATH_INFO", "")
        if page := path.endswith(("/", ".html")):
            environ.pop("HTTP_ACCEPT_ENCODING", None)  # as it is changed below
        try:
            if "/data/" in path:
                self._reload()
            response = Response.from_app(self._app, environ)
        except Exception:
            log.exception("TensorBoard broke on %s", path)
            response = _error(500, "TensorBoard broke on this request.")
        else:
            if response.status_code >= 400:  # its own words may quote a file with its path
                response = _error(response.status_code, f"TensorBoard refused this request ({response.status}).")
            elif page and response.mimetype == "text/html":
                response.set_data(response.get_data().replace(b"url(/font-", b"url(" + _root(path) + b"font-"))
        return response(environ, start_response)

    def _reload(self) -> None:
        """Reads what was written since. The first time everyone waits; later, whoever comes meanwhile does not."""
        if time.monotonic() < self._next or not self._loading.acquire(blocking=not self._loaded):
            return
        try:
            if time.monotonic() >= self._next:
                self._events.AddRunsFromDirectory(self._folder)
                self._events.Reload()
                self._loaded, self._next = True, time.monotonic() + self._every
        finally:
            self._loading.release()


def _root(path: str) -> bytes:
    """From a page at ``path`` to the board: pages ask for their fonts at the root of the host, wherever they are."""
    return b"../" * (path.count("/") - 1)


def _plugins() -> list[Any]:
    """Loaders and classes of what the trackers write, and nothing that starts a process or reads other files."""
    from tensorboard.plugins.core.core_plugin import CorePluginLoader
    from tensorboard.plugins.distribution.distributions_plugin import DistributionsPlugin
    from tensorboard.plugins.graph.graphs_plugin import GraphsPlugin
    from tensorboard.plugins.histogram.histograms_plugin import HistogramsPlugin
    from tensorboard.plugins.hparams.hparams_plugin import HParamsPlugin
    from tensorboard.plugins.image.images_plugin import ImagesPlugin
    from tensorboard.plugins.metrics.metrics_plugin import MetricsPlugin
    from tensorboard.plugins.pr_curve.pr_curves_plugin import PrCurvesPlugin
    from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
    from tensorboard.plugins.scalar.scalars_plugin import ScalarsPlugin
    from tensorboard.plugins.text.text_plugin import TextPlugin

    class Projector(ProjectorPlugin):
        def is_active(self) -> bool:
            """Whether a run has a file for it. The original reads all vectors, in a thread, and says no till then."""
            return any(Path(self.logdir).glob("*/projector_config.pbtxt"))

    metrics = [MetricsPlugin, ScalarsPlugin, ImagesPlugin, GraphsPlugin, DistributionsPlugin, HistogramsPlugin]
    return [
        CorePluginLoader(include_debug_info=False),  # it is what shows all flags
        *metrics,
        TextPlugin,
        PrCurvesPlugin,
        HParamsPlugin,
        Projector,
    ]


@cache
def _files() -> dict[str, WSGI]:
    """The page's own files by address, compressed once for all boards."""
    from tensorboard.assets import get_default_assets_zip_provider
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.core.core_plugin import CorePlugin

    return CorePlugin(TBContext(assets_zip_provider=get_default_assets_zip_provider())).get_resource_apps()


def _answer(values: dict[str, Any]) -> WSGI:
    from werkzeug.wrappers import Response

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
        return Response(json.dumps(values), headers=headers, mimetype="application/json")(environ, start_response)

    return app


def _error(status: int, words: str) -> Any:
    from werkzeug.wrappers import Response

    return Response(json.dumps({"error": words}), status, {"X-Content-Type-Options": "nosniff"}, "application/json")
