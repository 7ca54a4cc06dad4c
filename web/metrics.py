"""``GET /metrics`` in Prometheus' text format. 404 without METRICS_TOKEN; 401 for requests without the token."""

from __future__ import annotations

import hmac
import sys
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.responses import Response

import lib
from lib import jobs, metrics

from . import openapi

Values = dict[str, list[tuple[tuple[str, ...], float]]]  # by gauge: (labels, value)


class Gauges(Collector):
    """Collects gauges at each scrape; ``read`` returns the values that only the app knows."""

    def __init__(self, read: Callable[[], Values]) -> None:
        self._read = read

    def describe(self) -> list[GaugeMetricFamily]:
        return [self._family(name) for name in metrics.GAUGES]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        values = self._read() | {f"jobs_{state}": [((), n)] for state, n in jobs.under_way().items()}
        values["gpu_memory_bytes"] = list(gpu_memory())
        for name in metrics.GAUGES:
            family = self._family(name)
            for labels, value in values.get(name, []):
                family.add_metric(labels, value)
            yield family

    def _family(self, name: str) -> GaugeMetricFamily:
        words, labels = metrics.GAUGES[name]
        return GaugeMetricFamily(f"{metrics.PREFIX}_{name}", words, labels=labels)


def route(token: str, read: Callable[[], Values]) -> APIRoute:
    """``read`` is called for each scrape."""
    registry = CollectorRegistry()
    registry.register(Gauges(read))
    ProcessCollector(registry=registry)

    def answer(http: Request) -> Response:
        """Metrics in Prometheus' text format. Send METRICS_TOKEN as ``Authorization: Bearer``; 404 where it is not set."""
        if not token:
            return JSONResponse({"error": "Metrics are off: METRICS_TOKEN is not set."}, status_code=404)
        authorization = http.headers.get("authorization", "").encode("latin-1", "replace")
        if not hmac.compare_digest(authorization, b"Bearer " + token.encode()):
            words = "Send the METRICS_TOKEN as Authorization: Bearer."
            return JSONResponse({"error": words}, status_code=401, headers={"WWW-Authenticate": "Bearer"})
        text = generate_latest(metrics.REGISTRY) + generate_latest(registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})

    return openapi.route("/metrics", answer, answer=openapi.file("Prometheus' format.", "text/plain"), errors=(401, 404))


def build_info(revision: str) -> Values:
    return {"build_info": [((lib.__version__, revision or "unknown"), 1.0)]}


def gpu_memory() -> Iterator[tuple[tuple[str, str], float]]:
    """Yields ((device, kind), bytes) if torch has initialized CUDA in this process. Never initializes it."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = f"cuda:{index}"
        yield (name, "used"), float(total - free)
        yield (name, "total"), float(total)
        yield (name, "torch"), float(torch.cuda.memory_reserved(index))
