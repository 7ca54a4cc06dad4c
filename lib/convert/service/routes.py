"""The way from one format to another: the cheapest chain of edges by expected error and seconds. Runs nothing."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from lib.convert.edges import Edge, edges

SECONDS_PER_ERROR = 2e4  # an expected error of 1e-3 of the output's range is worth 20 s of waiting
SECONDS_PER_HOP = 5.0  # every hop is one more tool that may not know an operator


def cost(edge: Edge) -> float:
    return edge.seconds + SECONDS_PER_HOP + SECONDS_PER_ERROR * edge.error


def routes(source: str, usable: Callable[[Edge], bool] | None = None) -> dict[str, tuple[Edge, ...]]:
    """The cheapest route from ``source`` to every format that can be reached over ``usable`` edges.

    Dijkstra's algorithm; equal costs are decided by name, so the answer is always the same.
    """
    leaving: dict[str, list[Edge]] = {}
    for edge in edges().values():
        if usable is None or usable(edge):
            leaving.setdefault(edge.source, []).append(edge)
    found: dict[str, tuple[Edge, ...]] = {}
    line: list[tuple[float, tuple[str, ...], tuple[Edge, ...]]] = [(0.0, (source,), ())]
    while line:
        spent, names, route = heapq.heappop(line)
        if names[-1] in found:
            continue
        found[names[-1]] = route
        for edge in leaving.get(names[-1], []):
            if edge.target not in found:
                # names come before edges in the tuple and differ, so edges are never compared
                heapq.heappush(line, (spent + cost(edge), (*names, edge.target), (*route, edge)))
    del found[source]
    return found


def blocked(source: str) -> dict[str, str]:
    """Formats that could be reached if everything were installed, and what is missing for each."""
    here = routes(source, runs_here)
    return {
        target: "; ".join(dict.fromkeys(f"{e.tool}: {e.missing()}" for e in route if e.missing()))
        for target, route in routes(source).items()
        if target not in here
    }


def runs_here(edge: Edge) -> bool:
    return not edge.missing()
