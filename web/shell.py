"""The page around the tabs (see ``web/tab.py``): builds the Blocks, launches, drains and closes the app."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from web import environment  # isort: skip  (before the libraries that read it)

import gradio as gr
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.middleware import Middleware

from lib import log
from lib.errors import WorkbenchError
from lib.settings import Settings
from web import addresses, cards, docs, errors, handover, metrics, openapi, sessions
from web.blocks import Page
from web.html import Html, html
from web.page_middleware import PageMiddleware
from web.request_middleware import RequestMiddleware, Traffic
from web.shutdown import drain
from web.tab import Tab, load_tab
from web.theme import CSS, DESCRIPTION, EARLY_CSS, FOOTER, HEADER, THEME, TITLE
from web.visit import HIDDEN, Visit, visitor
from web.visits import Visits


class Workbench:
    """The app. ``launch`` starts it, ``close`` ends it."""

    def __init__(self, folders: list[Path], settings: Settings) -> None:
        self.settings = settings
        if settings.zero_gpu:
            import spaces  # noqa: F401  (must be imported before anything touches CUDA)
        self.tabs = [load_tab(folder)(settings) for folder in folders]
        self.visits = Visits(settings.gallery_hours)
        self._stopping = False
        with Page(title=TITLE, analytics_enabled=False, delete_cache=(600, settings.gallery_hours * 3600)) as self.demo:
            Html(HEADER, padding=False)
            key = visitor()
            self.demo.load(self._arrive, key, key, queue=False, **HIDDEN)
            self.demo.unload(self._leave)
            for tab in self.tabs:
                tab.visit = Visit(tab.slug, self.visits, key)
            if len(self.tabs) == 1:
                _build(self.tabs[0])
            else:
                with gr.Tabs(overflow_behavior="wrap", elem_id="tabs") as frame:
                    for tab in self.tabs:
                        with gr.Tab(tab.title, id=tab.slug, elem_id=f"tab-{tab.slug}"):
                            _build(tab)
                handover.connect([(tab.slug, tab) for tab in self.tabs], frame)
            Html(FOOTER.format(hours=settings.gallery_hours, days=settings.train_days), padding=False)
            for tab in self.tabs:
                tab.visit.connect()
        self.traffic = Traffic(self.routes())

    def _arrive(self, key: str, http: gr.Request) -> str:
        return self.visits.arrive(http.session_hash or "", key)

    def _leave(self, http: gr.Request) -> None:
        self.visits.leave(http.session_hash or "")
        self.traffic.sessions.leave(http.session_hash or "", self.demo.state_holder)

    def routes(self) -> list[APIRoute]:
        status_record = openapi.record(status="string")
        all_routes = [
            openapi.route("/healthz", self.health, answer=openapi.record(status="string", revision="string?")),
            openapi.route("/readyz", self.readiness, answer=status_record, also={503: status_record}),
            metrics.route(self.settings.metrics_token, self.gauges),
        ]
        for route in all_routes:
            route.tags = ["The app"]
        all_routes += docs.routes(TITLE, lambda: all_routes)
        for tab in self.tabs:
            tab_routes = tab.routes()
            for route in tab_routes:
                if isinstance(route, APIRoute):
                    route.tags = [tab.title]
            all_routes += tab_routes + addresses.routes(tab.slug, tab_routes)
        return all_routes

    async def health(self) -> JSONResponse:
        """Whether the app is alive. 200 with the state of each tab (model, device, queue) and the ``revision``."""
        response = {"status": "ready", "revision": self.settings.revision or None}
        return JSONResponse(response | {k: v for tab in self.tabs for k, v in tab.health().items()})

    @property
    def ready(self) -> bool:
        return not self._stopping and all(getattr(tab, "ready", True) for tab in self.tabs)

    async def readiness(self) -> JSONResponse:
        """Whether the app is ready for visitors. 200 when a picture can be made, else 503. For restarts see ``/healthz``."""
        ready = self.ready
        status = "ready" if ready else "stopping" if self._stopping else "loading"
        return JSONResponse({"status": status}, status_code=200 if ready else 503)

    def gauges(self) -> metrics.Values:
        app = getattr(self.demo, "app", None)  # set once launched
        session_count = len(app.state_holder.session_data) if app else 0
        values = {"gradio_sessions": [((), session_count)], "ready": [((), float(self.ready))]}
        for tab in self.tabs:
            values |= tab.gauges() if hasattr(tab, "gauges") else {}
        return values | metrics.build_info(self.settings.revision)

    def launch(self, **options: Any) -> str:
        """Starts the server, then the tabs with their heavy imports. Returns the local URL."""
        settings = self.settings
        environment.trust_proxy_headers()
        _, address, _ = self.demo.queue(default_concurrency_limit=None, max_size=None).launch(
            theme=THEME,
            css=CSS + cards.CSS + "".join(tab.css for tab in self.tabs),
            share=settings.share,
            ssr_mode=False,
            mcp_server=True,
            prevent_thread_lock=True,
            app_kwargs={
                "routes": self.traffic.routes,
                "title": TITLE,
                "exception_handlers": errors.handlers(self.traffic.routes),
                "middleware": [
                    Middleware(RequestMiddleware, traffic=self.traffic),
                    Middleware(PageMiddleware, edit=addresses.head(TITLE, DESCRIPTION, EARLY_CSS)),
                ],
            },
            quiet=True,
            max_file_size=f"{settings.max_file_mb}mb",
            allowed_paths=[str(settings.gallery_folder)],
            footer_links=["api"],
            state_session_capacity=sessions.MAX_SESSIONS,
            enable_monitoring=False,  # Gradio's monitoring page is public
            **options,
        )
        for tab in self.tabs:
            tab.start()
        return address

    def drain(self) -> None:
        """Rejects new pictures and waits for running ones, at most ``shutdown.DRAIN_SECONDS``. Call before ``close``."""
        self._stopping = True
        drain(self.tabs, self.traffic)

    def update(self) -> None:
        """Handles SIGUSR1: tabs that work in other processes replace them, in background threads."""
        for tab in self.tabs:
            if hasattr(tab, "update"):
                threading.Thread(target=tab.update, daemon=True, name=f"update {tab.slug}").start()

    def close(self) -> None:
        self.visits.close()
        for tab in self.tabs:
            tab.close()
        self.demo.close(verbose=False)


def _build(tab: Tab) -> None:
    """Builds the tab under a heading for screen readers."""
    Html(html('<h2 class="mw-hidden">{}</h2>', tab.title), padding=False, elem_classes="mw-heading")
    tab.build()


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM: the host stops or replaces the app. A second one, or Ctrl-C, ends it at once."""


def main(folders: list[Path]) -> int:
    """Serves the app until it is interrupted. Returns the exit status."""
    try:
        settings = Settings.from_environment()
        log.setup(settings.log_format)
        environment.limit_malloc_arenas()
        if settings.log_format == log.JSON:
            environment.disable_progress_bars()
        workbench = Workbench(folders, settings)
    except WorkbenchError as error:
        print(f"Model Workbench cannot start: {error}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _terminate)
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, lambda *_: workbench.update())
    print(f"Model Workbench is at {workbench.launch()}", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt as stop:
        with suppress(KeyboardInterrupt):
            if isinstance(stop, Terminated):
                workbench.drain()
        workbench.close()  # leaves no data of visitors behind
    return 0


def _terminate(*_: object) -> None:
    raise Terminated
