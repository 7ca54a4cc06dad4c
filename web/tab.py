"""The interface of a tab, and how tabs are loaded.

A tab is a folder under ``spaces/`` whose ``app.py`` defines ``TAB``, a class with ``title``, ``slug`` (its URL is
``/?tab=slug``), ``css``, ``__init__(settings)``, ``build()`` (inside a Blocks), ``routes()``, ``health()``,
``start()`` and ``close()``. Tabs are loaded by path and never as ``spaces.x``, because Gradio imports the PyPI package
``spaces`` on a Space.

``visit``, the visitor's state (``web/visit.py``), is set before ``build()``. Optional: ``opens`` and ``offers``, set
by ``build()`` (``web/handover.py``); ``ready``, if the tab is not ready at once; ``drain(seconds)``, to finish work
before a stop; ``gauges()``; ``update()``, to replace its worker processes.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any, Protocol

from fastapi.routing import APIRoute

from lib.settings import Settings
from web.visit import Visit


class Tab(Protocol):
    title: str
    slug: str
    css: str
    visit: Visit  # set before build()

    def __init__(self, settings: Settings) -> None: ...
    def build(self) -> None: ...
    def routes(self) -> list[APIRoute]: ...
    def health(self) -> dict[str, Any]: ...
    def start(self) -> None: ...
    def close(self) -> None: ...


def load_tab(folder: Path) -> type[Tab]:
    """Returns ``TAB`` of ``folder/app.py``, imported as a package so that it can import its siblings."""
    name = f"tab_{folder.name}"
    spec = importlib.util.spec_from_file_location(name, folder / "app.py", submodule_search_locations=[str(folder)])
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module.TAB
