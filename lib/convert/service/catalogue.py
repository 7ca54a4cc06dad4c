"""The conversions of this installation from the registry: the whole table, and the targets of one format."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lib.convert.edges import edges
from lib.convert.formats import find
from lib.convert.service.routes import blocked, routes, runs_here


def table() -> list[dict[str, Any]]:
    """Return a row for every edge. Edges that cannot run here have a reason in ``why_not``."""
    rows = []
    for edge in sorted(edges().values(), key=lambda e: (e.source, e.target)):
        why_not = edge.missing()
        titles = {"source_title": find(edge.source).title, "target_title": find(edge.target).title}
        rows.append(_plain(asdict(edge)) | titles | {"runs_here": not why_not, "why_not": why_not})
    return rows


def targets(source: str) -> list[dict[str, Any]]:
    """Return the targets of ``source``, the cheapest first: route, tools, seconds, error, options and notes."""
    rows = []
    for target, route in routes(source, runs_here).items():
        rows.append(
            {
                "target": target,
                "title": find(target).title,
                "route": [source, *(edge.target for edge in route)],
                "titles": [find(source).title, *(find(edge.target).title for edge in route)],
                "tools": [edge.tool for edge in route],
                "precision": route[-1].precision,
                "seconds": sum(edge.seconds for edge in route),
                "error": sum(edge.error for edge in route),
                "options": list({o.name: asdict(o) for edge in route for o in edge.options}.values()),
                "notes": [edge.note for edge in route if edge.note],
            }
        )
    return rows


def unreachable(source: str) -> dict[str, str]:
    """Return the targets that cannot be made here although a route exists, with what is missing."""
    return blocked(source)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("run", "needs")}
