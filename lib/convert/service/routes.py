"""Find routes between formats: the cheapest chains of edges by expected error and seconds."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from lib.convert.edges import Edge, edges

SECONDS_PER_ERROR = 2e4  # an expected error of 1e-3 of the output's range costs as much as 20 s
SECONDS_PER_HOP = 5.0  # each hop is another tool that may lack an operator


def cost(edge: Edge) -> float:
    """Return the cost of an edge in seconds, including penalties for its error and for the hop."""
    return edge.seconds + SECONDS_PER_HOP + SECONDS_PER_ERROR * edge.error


def routes(source: str, usable: Callable[[Edge], bool] | None = None) -> dict[str, tuple[Edge, ...]]:
    """Return the cheapest route from ``source`` to every format that is reachable over ``usable`` edges, cheapest first.

    Dijkstra's algorithm. Ties are broken by name, so the result is deterministic.
    """
    edges_by_source: dict[str, list[Edge]] = {}
    for edge in edges().values():
        if usable is None or usable(edge):
            edges_by_source.setdefault(edge.source, []).append(edge)
    cheapest: dict[str, tuple[Edge, ...]] = {}
    heap: list[tuple[float, tuple[str, ...], tuple[Edge, ...]]] = [(0.0, (source,), ())]
    while heap:
        total, names, route = heapq.heappop(heap)
        if names[-1] in cheapest:
            continue
        cheapest[names[-1]] = route
        for edge in edges_by_source.get(names[-1], []):
            if edge.target not in cheapest:
                # names precede edges in the tuple and differ, so edges are never compared
                heapq.heappush(heap, (total + cost(edge), (*names, edge.target), (*route, edge)))
    del cheapest[source]
    return cheapest


def blocked(source: str) -> dict[str, str]:
    """Return the formats that would be reachable if everything were installed, and what is missing for each."""
    reachable = routes(source, runs_here)
    return {
        target: "; ".join(dict.fromkeys(f"{e.tool}: {e.missing()}" for e in route if e.missing()))
        for target, route in routes(source).items()
        if target not in reachable
    }


def runs_here(edge: Edge) -> bool:
    """Return whether this installation can run the edge."""
    return not edge.missing()
