"""What a tab is, and how one is loaded.

A tab is a folder under ``spaces/`` whose ``app.py`` defines ``TAB``, a class with ``title``, ``slug`` (its
address: ``/?tab=slug``), ``css``, ``__init__(settings)``, ``build()`` (inside a Blocks), ``routes()``, ``health()``,
``start()`` and ``close()``. Tabs are loaded by path and never as ``spaces.x``: PyPI's package ``spaces``, which
gradio imports on a Space, has that name. For ``build()`` it has ``visit``, its memory of the visitor (``web/visit.py``);
after it, it may have ``opens`` and ``offers`` (``web/handover.py``). A tab that is not ready at once has ``ready``, one
whose work is finished before a stop has ``drain(seconds)``, one with gauges has ``gauges()``, one whose other
processes can be replaced ``update()``.
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
    """``TAB`` of ``folder/app.py``, imported as a package so that it can import its siblings."""
    name = f"tab_{folder.name}"
    spec = importlib.util.spec_from_file_location(name, folder / "app.py", submodule_search_locations=[str(folder)])
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module.TAB
