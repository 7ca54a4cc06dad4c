"""TensorBoard's own app for a folder of runs, as a WSGI app without a server or threads of its own.

Boards share one copy of the static files. A board loads new events when data is requested, at most every few
seconds; its folder may not exist yet. Responses never contain a path of this machine. Importing this module does
not import tensorboard (0.4 s, 35 MB); creating the first board does. Independent of visitors, tokens and the web
framework.
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
IDLE_SECONDS = 1800.0  # an open page polls every 30 seconds
SAMPLES = {"histograms": 50}  # kept per series instead of 500; a run of 30 epochs and 149 histograms takes 10 MB

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

# legacy routes that TensorBoard redirects to "/", which is a different page in this app
GONE = ("/audio", "/events", "/graphs", "/histograms", "/images")

log = logging.getLogger(__name__)


class Boards:
    """An LRU cache of the ``most`` recently used boards. An evicted board is rebuilt on the next request.

    A board loads new events at most once every ``every`` seconds. It is dropped after ``idle`` seconds without a request,
    because it keeps the events in memory.
    """

    def __init__(self, most: int = 20, every: float = RELOAD_SECONDS, idle: float = IDLE_SECONDS) -> None:
        self._most, self._every, self._idle = most, every, idle
        self._boards: OrderedDict[Path, Board] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._boards)

    def app(self, folder: Path) -> WSGI:
        """Returns the board of ``folder``. Building the first takes a second, each further one a few milliseconds."""
        with self._lock:
            if (board := self._boards.pop(folder, None)) is None:
                board = Board(folder, self._every)
            self._boards[folder] = board
            board.asked = now = time.monotonic()
            while len(self._boards) > self._most or next(iter(self._boards.values())).asked < now - self._idle:
                self._boards.popitem(last=False)
        return board

    def close(self) -> None:
        """Drop every board. Requests in progress finish normally."""
        with self._lock:
            self._boards.clear()


class Board:
    """A WSGI app. Thread-safe: one thread loads new events while the others serve those already loaded."""

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
            # the projector plugin needs the folder; the routes that would reveal it are overridden below
            argparse.Namespace(
                logdir=self._folder, logdir_spec="", samples_per_plugin={}, window_title="TensorBoard", path_prefix=""
            ),
            _plugins(),
            data_provider=MultiplexerDataProvider(self._events, ""),
            assets_zip_provider=None,  # otherwise each board would compress and keep all files: 7 MB
            deprecated_multiplexer=self._events,
        )
        # exact routes match after prefixes and slashes are normalized, so no other spelling bypasses them
        self._app.exact_routes.update(_files())
        self._app.exact_routes["/data/logdir"] = _answer({"logdir": ""})
        self._app.exact_routes["/data/notifications"] = _answer({"notifications": []})  # the file is not in the wheel
        for path in GONE:
            self._app.exact_routes.pop(path, None)
        self._loading = threading.Lock()
        self._loaded, self._next = False, 0.0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        from werkzeug.wrappers import Response

        path = environ.get("PATH_INFO", "")
        if page := path.endswith(("/", ".html")):
            environ.pop("HTTP_ACCEPT_ENCODING", None)  # the body is modified below
        try:
            if "/data/" in path:
                self._reload()
            response = Response.from_app(self._app, environ)
        except Exception:
            log.exception("TensorBoard broke on %s", path)
            response = _error(500, "TensorBoard failed on this request.")
        else:
            if response.status_code >= 400:  # the original message may contain a path
                response = _error(response.status_code, f"TensorBoard refused this request ({response.status}).")
            elif page and response.mimetype == "text/html":
                response.set_data(response.get_data().replace(b"url(/font-", b"url(" + _root(path) + b"font-"))
        return response(environ, start_response)

    def _reload(self) -> None:
        """Load new events. The first load blocks every request; later ones do not block concurrent requests."""
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
    """Returns the relative path from the page at ``path`` to the board: pages load their fonts from the host's root."""
    return b"../" * (path.count("/") - 1)


def _plugins() -> list[Any]:
    """Returns the plugins for what the trackers write, without any that starts a process or reads other files."""
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
            """Check whether a run has a projector file. The base class loads all vectors first, in a thread."""
            return any(Path(self.logdir).glob("*/projector_config.pbtxt"))

    metrics = [MetricsPlugin, ScalarsPlugin, ImagesPlugin, GraphsPlugin, DistributionsPlugin, HistogramsPlugin]
    return [
        CorePluginLoader(include_debug_info=False),  # debug info exposes all flags
        *metrics,
        TextPlugin,
        PrCurvesPlugin,
        HParamsPlugin,
        Projector,
    ]


@cache
def _files() -> dict[str, WSGI]:
    """Returns the static files by route, compressed once for all boards."""
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
