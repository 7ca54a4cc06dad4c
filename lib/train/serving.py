"""The classification process: caches the last networks and batches concurrent requests into one forward pass.

Runs in a child process as one long job (``serve``). Requests arrive over a Unix socket as JSON with image paths;
``lib/train/classify.py`` is the client. A single request is answered at once, without waiting for a batch to fill.
Images of requests with ``monitored`` are processed again afterwards for drift detection
(``lib/train/monitoring/drift_worker.py``).
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

SECONDS = 10.0  # timeout for a client to send its request


def serve(progress: Callable[..., None], address: str, idle: float, backbones: list[str]) -> dict[str, Any]:
    """Answer requests until none has arrived for ``idle`` seconds."""
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
        while (requested := bool(selector.select(0 if worker.waiting else idle))) or worker.waiting:
            if requested:
                waiting = [(end, request) for end in _accept(server) if (request := _request(end)) is not None]
                forwards += answer(waiting, networks, worker)
            if worker.late or (worker.waiting and not requested):
                worker.work()
    return {"forwards": forwards}


def _accept(server: socket.socket) -> list[socket.socket]:
    """Accept every pending connection."""
    clients = []
    server.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            client, _ = server.accept()
            client.settimeout(SECONDS)
            clients.append(client)
    return clients


def _request(end: socket.socket) -> dict[str, Any] | None:
    try:
        return receive(end)
    except (OSError, ValueError, RecursionError):
        end.close()
        return None


Waiting = tuple[socket.socket, dict[str, Any]]


def answer(waiting: list[Waiting], networks: NetworkCache, worker: DriftWorker | None = None) -> int:
    """Answer all requests, with one forward pass per run and runtime; returns the number of passes."""
    groups: dict[tuple[str, str], list[Waiting]] = {}
    for end, request in waiting:
        groups.setdefault((str(request["run"]), str(request.get("runtime", PYTORCH))), []).append((end, request))
    for (run, runtime), group in groups.items():
        monitored: list[Pair] = []
        try:
            network, loading = networks.ready(run, runtime)
            paths = [request["pictures"] for _, request in group]
            answers_by_request = classify(
                network, paths, runtime, [monitored if request.get("monitored") else None for _, request in group]
            )
            replies = [Reply(pictures=answers, loading=loading) for answers in answers_by_request]
        except WorkbenchError as error:
            replies = [Reply(error=error.message)] * len(group)
        except Exception as error:  # only this run's files are at fault; requests for other runs must still be answered
            replies = [Reply(error=f"This run cannot be used: its files are invalid ({type(error).__name__}).")] * len(group)
        for (end, _), reply in zip(group, replies, strict=True):
            with suppress(OSError), end:
                send(end, to_json(reply))
        if worker is not None:
            worker.add(run, monitored)
    return len(groups)


def classify(
    network: LoadedRun, asked: list[list[str]], runtime: str = PYTORCH, looked: Sequence[list[Pair] | None] = ()
) -> list[list[Answer]]:
    """Returns the answers of each request, one per image.

    ``looked`` has one entry per request: a list that collects its images for the drift tests, or None. Only resized copies
    of an image are kept: 32 of the largest would fill the memory.
    """
    exported = network.open(runtime)
    began = time.perf_counter()
    errors: dict[int, str] = {}  # by position in ``paths``
    pixels: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    paths = [(path, pairs) for request, pairs in zip(asked, looked or [None] * len(asked), strict=True) for path in request]
    for index, (path, pairs) in enumerate(paths):
        try:
            picture = pictures.load(Path(path))
        except WorkbenchError as error:
            errors[index] = error.message
            continue
        resized = pictures.resize(picture, network.size)
        if exported is None:
            pixels.append(resized)
        else:
            rows.append(np.nan_to_num(exported.probabilities([picture])[0][0]))
        if pairs is not None:
            pairs.append((pictures.resize(picture, SIDE), resized))
    if pixels:
        rows = list(network.classifier.probabilities(np.stack(pixels)))
    milliseconds = round((time.perf_counter() - began) * 1000, 1)
    scores = iter(rows)
    answers: list[Answer] = [
        Unreadable(error=errors[index]) if index in errors else _answer(network.classes, next(scores), milliseconds)
        for index in range(len(paths))
    ]
    remaining = iter(answers)
    return [[next(remaining) for _ in request] for request in asked]


def _answer(classes: Sequence[str], probabilities: np.ndarray, milliseconds: float) -> Classification:
    """Build the answer from ``probabilities``, float32 [classes]."""
    best = int(probabilities.argmax())
    return Classification(
        label=classes[best],
        score=round(float(probabilities[best]), 5),
        milliseconds=milliseconds,
        scores={name: round(float(p), 5) for name, p in zip(classes, probabilities, strict=True)},
    )
