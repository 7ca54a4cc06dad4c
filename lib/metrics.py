"""All metrics of the app. ``web/metrics.py`` exports them, docs/operate.md documents them.

Label values come from closed sets: catalogue models, interfaces (doors), kinds of jobs, formats. Never prompts, file
names or visitors. Counting is thread-safe and takes microseconds.
"""

from __future__ import annotations

import threading

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

disable_created_metrics()

PREFIX = "workbench"
REGISTRY = CollectorRegistry()
SHORT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LONG = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
ROWS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 128)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
MAX_SIZES = 20
OTHER = "other"

# Read from the app at each scrape: name -> (help, labels).
GAUGES = {
    "requests_running": ("Pictures in a batch or waiting for their decoder.", ("model",)),
    "requests_waiting": ("Pictures in the queue.", ("model",)),
    "queue_size": ("Pictures that may wait; more are refused (QUEUE_SIZE).", ()),
    "jobs_running": ("Child processes that handle files or train.", ()),
    "jobs_waiting": ("Jobs waiting for a child process.", ()),
    "gpu_memory_bytes": ("Memory of an accelerator, by kind: used, total, or held by this app's torch.", ("device", "kind")),
    "classify_drifting": ("Recently served runs whose newest test reports a change.", ("test",)),
    "gradio_sessions": ("Sessions whose state Gradio keeps.", ()),
    "ready": ("1 if /readyz returns 200.", ()),
    "build_info": ("Always 1.", ("version", "revision")),
}


def _counter(name: str, words: str, *labels: str) -> Counter:
    return Counter(f"{PREFIX}_{name}", words, labels, registry=REGISTRY)


def _histogram(name: str, words: str, *labels: str, buckets: tuple[float, ...] = LONG) -> Histogram:
    return Histogram(f"{PREFIX}_{name}", words, labels, buckets=buckets, registry=REGISTRY)


REQUESTS = _counter(
    "requests_total", "Requested pictures, by outcome: done, cancelled, refused, failed.", "model", "door", "outcome"
)
QUEUE_SECONDS = _histogram("request_queue_seconds", "From the request to its place in a batch.", "model")
FIRST_PREVIEW_SECONDS = _histogram("time_to_first_preview_seconds", "From the request to the first preview.", "model")
REQUEST_SECONDS = _histogram("request_seconds", "From the request to the picture, for completed requests.", "model")
TICK_SECONDS = _histogram("tick_seconds", "One denoising step of a batch.", "model", "size", buckets=SHORT)
TICK_ROWS = _histogram("tick_rows", "Rows in a step: a guided picture takes two.", "model", "size", buckets=ROWS)
DECODE_SECONDS = _histogram("decode_seconds", "Decoding the latents of up to four pictures.", "model", buckets=SHORT)
LOAD_SECONDS = _histogram("model_load_seconds", "Loading a picture model, including its download.", "model")
REPLAYS = _counter("replays_total", "Pictures restarted because their replica was lost.")

JOBS = _counter(
    "jobs_total",
    "Jobs by outcome: result, invalid, failed, memory, time, size, crashed, cancelled, refused.",
    "kind",
    "outcome",
)
JOB_SECONDS = _histogram("job_seconds", "A job in its child process, without time in the queue.", "kind")
CONVERSIONS = _counter("conversions_total", "Conversions that ended with a verdict.", "source", "target", "verdict")
CLASSIFIED = _counter(
    "classify_pictures_total", "Pictures sent to served runs: answered, unreadable, failed.", "runtime", "outcome"
)
CLASSIFY_SECONDS = _histogram("classify_seconds", "From a request to a served run to its answer.", "runtime", buckets=SHORT)
CLASSIFY_CONFIDENCE = _histogram("classify_confidence", "Probability of the predicted label.", buckets=SHARES)
CLASSIFY_TRUTHS = _counter("classify_truths_total", "True labels reported for answers: right or wrong.", "verdict")
HTTP = _counter("http_requests_total", "HTTP responses, by route template.", "route", "method", "status")

_sizes: set[str] = set()
_lock = threading.Lock()


def size_label(width: int, height: int) -> str:
    """Returns ``WxH`` for the first ``MAX_SIZES`` sizes, then "other".

    Visitors choose sizes, and each new label value would create a permanent time series.
    """
    size = f"{width}x{height}"
    with _lock:
        if size not in _sizes:
            if len(_sizes) >= MAX_SIZES:
                return OTHER
            _sizes.add(size)
    return size
