"""The page around the tabs: loads tab folders by path, builds the Blocks, launches, closes.

A tab is a folder under ``spaces/`` whose ``app.py`` defines ``TAB``, a class with ``title``, ``css``,
``__init__(settings)``, ``build()`` (inside a Blocks), ``routes()``, ``health()``, ``start()`` and
``close()``. Tabs are loaded by path and never as ``spaces.x``: PyPI's package ``spaces``, which
gradio imports on a Space, has that name. After ``build()`` it may have ``opens`` and ``offers`` (``web/handover.py``).
"""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, Protocol

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from lib.errors import WorkbenchError
from lib.settings import Settings
from web import cards, handover
from web.theme import CSS, HEADER, THEME


class Tab(Protocol):
    title: str
    css: str

    def __init__(self, settings: Settings) -> None: ...
    def build(self) -> None: ...
    def routes(self) -> list[APIRoute]: ...
    def health(self) -> dict[str, Any]: ...
    def start(self) -> None: ...
    def close(self) -> None: ...


def load_tab(folder: Path) -> type[Tab]:
    """``TAB`` of ``folder/app.py``, imported as a package so that it can import its siblings."""
    name = f"tab_{folder.name}"
    spec = importlib.util.spec_from_file_location(name, folder / "app.py", submodule_search_locations=[str(folder)])
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module.TAB


class Workbench:
    """The running app: ``launch`` it, and ``close`` it."""

    def __init__(self, folders: list[Path], settings: Settings) -> None:
        self.settings = settings
        if settings.zero_gpu:
            import spaces  # noqa: F401  (ZeroGPU wants it before anything touches CUDA)
        self.tabs = [load_tab(folder)(settings) for folder in folders]
        with gr.Blocks(
            title="Model Workbench", analytics_enabled=False, delete_cache=(600, settings.gallery_hours * 3600)
        ) as self.demo:
            gr.HTML(HEADER, padding=False)
            if len(self.tabs) == 1:
                self.tabs[0].build()
            else:
                with gr.Tabs(overflow_behavior="wrap") as frame:
                    for tab in self.tabs:
                        with gr.Tab(tab.title, id=tab.title):
                            tab.build()
                handover.connect([(tab.title, tab) for tab in self.tabs], frame)

    def routes(self) -> list[APIRoute]:
        own = APIRoute("/healthz", self.health, methods=["GET"])
        return [own, *(route for tab in self.tabs for route in tab.routes())]

    async def health(self) -> JSONResponse:
        return JSONResponse({"status": "ready"} | {k: v for tab in self.tabs for k, v in tab.health().items()})

    def launch(self, **options: Any) -> str:
        """Puts the page up, then starts the heavy imports. Returns the local address."""
        settings = self.settings
        _, address, _ = self.demo.queue(default_concurrency_limit=None, max_size=None).launch(
            theme=THEME,
            css=CSS + cards.CSS + "".join(tab.css for tab in self.tabs),
            share=settings.share,
            ssr_mode=False,
            mcp_server=True,
            prevent_thread_lock=True,
            app_kwargs={"routes": self.routes(), "title": "Model Workbench"},
            quiet=True,
            max_file_size=f"{settings.max_file_mb}mb",
            allowed_paths=[str(settings.gallery_folder)],
            footer_links=["api"],
            **options,
        )
        for tab in self.tabs:
            tab.start()
        return address

    def close(self) -> None:
        for tab in self.tabs:
            tab.close()
        self.demo.close(verbose=False)


def main(folders: list[Path]) -> int:
    """Serves until it is interrupted; an exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        workbench = Workbench(folders, Settings.from_environment())
    except WorkbenchError as error:
        print(f"Model Workbench cannot start: {error}", file=sys.stderr)
        return 2
    # a Space is stopped by SIGTERM, a terminal by Ctrl-C: both leave nothing of the visitors behind
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"Model Workbench is at {workbench.launch()}", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        workbench.close()
    return 0
