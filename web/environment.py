"""Switches of libraries that read them from the environment. Imported before any of these libraries is."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

M_ARENA_MAX, HEAPS = -8, 4  # malloc.h

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Gradio keeps 10,000 events and sums them up with pandas after each, for a page of monitoring that is closed here
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # diffusers imports onnxruntime
# OpenMP threads that wait must let other processes have the core: they look on for half a millisecond, then sleep
# (docs/decisions.md). Both are read when torch is imported; the first is for other OpenMPs than GNU's.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# their warnings quote prompts, and go past our log
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def believe_the_proxy() -> None:
    """On a Space, the address that its proxy tells is the caller's; before the server starts.

    There everybody comes through that proxy, and callers of REST would share its turn in the queue. A client can write
    the same header, so the address decides on turns and never on rights.
    """
    if "SPACE_ID" in os.environ:
        os.environ.setdefault("FORWARDED_ALLOW_IPS", "*")  # read by uvicorn


def no_progress_bars() -> None:
    """Libraries draw them into the log."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def few_heaps() -> None:
    """glibc gives each thread a heap of its own, up to eight a core, and what many short requests leave in them is
    never joined: over half an hour of load that is hundreds of MB (docs/operate.md). A few heaps do as well."""
    if "MALLOC_ARENA_MAX" not in os.environ and sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, HEAPS)
