"""Runs one edge as a conversion would, without its job: for tests of edges."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from lib.convert.edges import edges


def convert(source: str, target: str, folder: Path, out: Path, **given: Any) -> dict[str, Any]:
    """Defaults of the edge's options, but ``given``. Returns what the edge returns, {} for None."""
    found = edges()[source, target]
    options = {o.name: o.default for o in found.options}
    assert given.keys() <= options.keys()
    module, name = found.run.split(":")
    out.mkdir(parents=True)
    shares: list[float] = []

    def progress(stage: str, share: float | None = None) -> None:
        assert stage
        shares.extend([] if share is None else [share])

    result = getattr(importlib.import_module(module), name)(progress, folder, out, options | given)
    assert shares == sorted(shares) and all(0 <= s <= 1 for s in shares)
    return result or {}
