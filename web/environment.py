"""Environment variables of libraries. Must be imported before those libraries."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

M_ARENA_MAX, HEAPS = -8, 4  # malloc.h

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Gradio keeps 10,000 events and aggregates them with pandas after each, for a monitoring page that is disabled here
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # diffusers imports onnxruntime
# Waiting OpenMP threads must yield the core to other processes: they spin for half a millisecond, then sleep
# (docs/decisions.md). Both are read when torch is imported; the first one is for OpenMP runtimes other than GNU's.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# their warnings quote prompts and bypass our log
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def trust_proxy_headers() -> None:
    """On a Space, takes client addresses from the proxy's headers. Call it before the server starts.

    All requests come through that proxy, so otherwise all REST clients would share one turn in the queue. Clients can
    forge the header: use the address only for queueing, never for permissions.
    """
    if "SPACE_ID" in os.environ:
        os.environ.setdefault("FORWARDED_ALLOW_IPS", "*")  # read by uvicorn


def disable_progress_bars() -> None:
    """Keeps progress bars of libraries out of the log."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def limit_malloc_arenas() -> None:
    """Limits the number of glibc's malloc arenas.

    By default there are up to eight per core, and fragmentation by many short requests costs hundreds of MB in half an
    hour of load (docs/operate.md).
    """
    if "MALLOC_ARENA_MAX" not in os.environ and sys.platform == "linux":
        with suppress(OSError, AttributeError):  # not glibc
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, HEAPS)
