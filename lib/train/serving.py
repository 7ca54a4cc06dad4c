"""A process that classifies: it keeps the last networks in memory, and requests that arrive together share a forward pass.

Runs in a child process as one long job (``serve``). Requests come over a Unix socket, as JSON with the paths of pictures;
``lib/train/classify.py`` is the app's side. One request alone is answered at once: nothing waits for company. Pictures of
requests with ``monitored`` are looked at once more afterwards, for drift (``lib/train/monitoring/drift_worker.py``).
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import WorkbenchError
from lib.job_messages import receive, send
from lib.settings import prepare_library
from lib.train import pictures
from lib.train.classification import Answer, Classification, Reply, Unreadable
from lib.train.experiment import cores
from lib.train.monitoring.drift_worker import DriftWorker, Pair
from lib.train.monitoring.reference import SIDE
from lib.train.network_cache import PYTORCH, READY, LoadedRun, NetworkCache
from lib.train.schema import to_json

SECONDS = 10.0  # that a client may take to send its request


def serve(progress: Callable[..., None], address: str, idle: float, backbones: list[str]) -> dict[str, Any]:
    """Answers until nobody has asked for ``idle`` seconds."""
    prepare_library(KERAS_BACKEND="torch")
    import torch

    torch.set_num_threads(cores())
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen(128)
    progress(READY)
    networks, forwards = NetworkCache(tuple(backbones)), 0
    worker = DriftWorker(networks)
    with selectors.DefaultSelector() as selector, closing(networks):
        selector.register(server, selectors.EVENT_READ)
        while (asked := bool(selector.select(0 if worker.waiting else idle))) or worker.waiting:
            if asked:
                waiting = [(end, request) for end in _accept(server) if (request := _request(end)) is not None]
                forwards += answer(waiting, networks, worker)
            if worker.late or (worker.waiting and not asked):
                worker.work()
    return {"forwards": forwards}


def _accept(server: socket.socket) -> list[socket.socket]:
    """Every client that has connected by now."""
    found = []
    server.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            end, _ = server.accept()
            end.settimeout(SECONDS)
            found.append(end)
    return found


def _request(end: socket.socket) -> dict[str, Any] | None:
    try:
        return receive(end)
    except (OSError, ValueError, RecursionError):
        end.close()
        return None


Waiting = tuple[socket.socket, dict[str, Any]]


def answer(waiting: list[Waiting], networks: NetworkCache, worker: DriftWorker | None = None) -> int:
    """Answers all of them, with one forward pass for each run and runtime; returns the number of passes."""
    groups: dict[tuple[str, str], list[Waiting]] = {}
    for end, request in waiting:
        groups.setdefault((str(request["run"]), str(request.get("runtime", PYTORCH))), []).append((end, request))
    for (run, runtime), some in groups.items():
        looked: list[Pair] = []
        try:
            network, loading = networks.ready(run, runtime)
            asked = [request["pictures"] for _, request in some]
            found = classify(network, asked, runtime, [looked if request.get("monitored") else None for _, request in some])
            replies = [Reply(pictures=answers, loading=loading) for answers in found]
        except WorkbenchError as error:
            replies = [Reply(error=error.message)] * len(some)
        except Exception as error:  # of this run's files alone: the next run's visitors still want an answer
            replies = [Reply(error=f"This run cannot be used: its files do not fit ({type(error).__name__}).")] * len(some)
        for (end, _), reply in zip(some, replies, strict=True):
            with suppress(OSError), end:
                send(end, to_json(reply))
        if worker is not None:
            worker.add(run, looked)
    return len(groups)


def classify(
    network: LoadedRun, asked: list[list[str]], runtime: str = PYTORCH, looked: Sequence[list[Pair] | None] = ()
) -> list[list[Answer]]:
    """Of each request the answers to its pictures.

    ``looked`` has, for each request, a list that takes its pictures for the drift tests, or None. Of a picture no more is
    kept than its resized copies: 32 of the largest would fill the memory.
    """
    other = network.open(runtime)
    began = time.perf_counter()
    errors: dict[int, str] = {}  # by the picture's place among all
    pixels: list[np.ndarray] = []
    found: list[np.ndarray] = []
    paths = [(path, pairs) for some, pairs in zip(asked, looked or [None] * len(asked), strict=True) for path in some]
    for at, (path, pairs) in enumerate(paths):
        try:
            picture = pictures.load(Path(path))
        except WorkbenchError as error:
            errors[at] = error.message
            continue
        own = pictures.resize(picture, network.size)
        if other is None:
            pixels.append(own)
        else:
            found.append(np.nan_to_num(other.probabilities([picture])[0][0]))
        if pairs is not None:
            pairs.append((pictures.resize(picture, SIDE), own))
    if pixels:
        found = list(network.classifier.probabilities(np.stack(pixels)))
    milliseconds = round((time.perf_counter() - began) * 1000, 1)
    scores = iter(found)
    answers: list[Answer] = [
        Unreadable(error=errors[at]) if at in errors else _answer(network.classes, next(scores), milliseconds)
        for at in range(len(paths))
    ]
    left = iter(answers)
    return [[next(left) for _ in some] for some in asked]


def _answer(classes: Sequence[str], probabilities: np.ndarray, milliseconds: float) -> Classification:
    """``probabilities``: float32 [classes]."""
    best = int(probabilities.argmax())
    return Classification(
        label=classes[best],
        score=round(float(probabilities[best]), 5),
        milliseconds=milliseconds,
        scores={name: round(float(p), 5) for name, p in zip(classes, probabilities, strict=True)},
    )
