"""What this installation can convert, read from the registry: the whole table, and the targets of one format."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lib.convert.edges import edges
from lib.convert.formats import find
from lib.convert.service.routes import blocked, routes, runs_here


def table() -> list[dict[str, Any]]:
    """A row for every edge, also for those that cannot run here, with the reason in ``why_not``."""
    rows = []
    for edge in sorted(edges().values(), key=lambda e: (e.source, e.target)):
        why_not = edge.missing()
        titles = {"source_title": find(edge.source).title, "target_title": find(edge.target).title}
        rows.append(_plain(asdict(edge)) | titles | {"runs_here": not why_not, "why_not": why_not})
    return rows


def targets(source: str) -> list[dict[str, Any]]:
    """What can be made of ``source`` here, nearest first: the route, its tools, seconds, error, options, notes."""
    out = []
    for target, route in routes(source, runs_here).items():
        out.append(
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
    return out


def unreachable(source: str) -> dict[str, str]:
    """Targets that cannot be made here though an edge leads there, with what is missing."""
    return blocked(source)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("run", "needs")}
