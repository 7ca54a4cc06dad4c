"""A process that classifies: it keeps the last networks in memory, and requests that arrive together share a forward pass.

Runs in a child process as one long job (``serve``). Requests come over a Unix socket, as JSON with the paths of pictures;
``lib/train/classify.py`` is the app's side. One request alone is answered at once: nothing waits for company.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import WorkbenchError
from lib.job_messages import receive, send
from lib.settings import prepare_library
from lib.train import pictures
from lib.train.experiment import cores
from lib.train.frameworks import framework
from lib.train.recipe import Recipe
from lib.train.runs import Run
from lib.train.training import BEST, Classifier

KEPT = 2  # networks in memory
SECONDS = 10.0  # that a client may take to send its request


def serve(progress: Callable[..., None], address: str, idle: float, backbones: list[str]) -> dict[str, Any]:
    """Answers until nobody has asked for ``idle`` seconds."""
    prepare_library(KERAS_BACKEND="torch")
    import torch

    torch.set_num_threads(cores())
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen(128)
    progress("Ready")
    networks, forwards = Networks(tuple(backbones)), 0
    with selectors.DefaultSelector() as selector:
        selector.register(server, selectors.EVENT_READ)
        while selector.select(idle):
            waiting = [(end, request) for end in _accept(server) if (request := _request(end)) is not None]
            forwards += answer(waiting, networks)
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


def answer(waiting: list[tuple[socket.socket, dict[str, Any]]], networks: Networks) -> int:
    """Answers all of them, with one forward pass for each run; returns the number of passes."""
    by_run: dict[str, list[tuple[socket.socket, dict[str, Any]]]] = {}
    for end, request in waiting:
        by_run.setdefault(str(request["run"]), []).append((end, request))
    for run, some in by_run.items():
        try:
            found = classify(networks.get(run), [request["pictures"] for _, request in some])
            messages = [{"pictures": rows} for rows in found]
        except WorkbenchError as error:
            messages = [{"error": error.message}] * len(some)
        except Exception as error:  # of this run's files alone: the next run's visitors still want an answer
            messages = [{"error": f"This run cannot be used: its files do not fit ({type(error).__name__})."}] * len(some)
        for (end, _), message in zip(some, messages, strict=True):
            with suppress(OSError), end:
                send(end, message)
    return len(by_run)


def classify(network: Loaded, asked: list[list[str]]) -> list[list[dict[str, Any]]]:
    """Of each request the pictures' rows: ``label``, ``score``, ``scores`` by class and ``milliseconds``, or ``error``."""
    began = time.perf_counter()
    rows: list[dict[str, Any]] = []
    pixels = []
    for path in (path for paths in asked for path in paths):
        row: dict[str, Any] = {}
        try:
            pixels.append(pictures.resize(pictures.load(Path(path)), network.size))
            row["at"] = len(pixels) - 1
        except WorkbenchError as error:
            row["error"] = error.message
        rows.append(row)
    found = network.classifier.probabilities(np.stack(pixels)) if pixels else np.zeros((0, len(network.classes)))
    milliseconds = round((time.perf_counter() - began) * 1000, 1)
    for row in rows:
        if "at" in row:
            scores = found[row.pop("at")]
            best = int(scores.argmax())
            row |= {"label": network.classes[best], "score": round(float(scores[best]), 5), "milliseconds": milliseconds}
            row["scores"] = {name: round(float(s), 5) for name, s in zip(network.classes, scores, strict=True)}
    left = iter(rows)
    return [[next(left) for _ in paths] for paths in asked]


class Loaded:
    """A run's network, its classes and the side of its pictures."""

    def __init__(self, run: Run, backbones: tuple[str, ...]) -> None:
        recipe = Recipe.parse(run.read()["recipe"])
        self.classes = tuple(run.read().get("classes") or ())
        self.size = recipe.image_size
        self.classifier: Classifier = framework(recipe.framework).load(recipe, self.classes, run.folder, backbones)


class Networks:
    """The last ``KEPT`` networks; one whose weights were written anew is loaded anew."""

    def __init__(self, backbones: tuple[str, ...]) -> None:
        self._backbones = backbones
        self._kept: OrderedDict[tuple[str, int], Loaded] = OrderedDict()

    def get(self, folder: str) -> Loaded:
        weights = Path(folder) / BEST
        key = folder, weights.stat().st_mtime_ns if weights.is_file() else 0
        if key not in self._kept:
            self._kept[key] = Loaded(Run(Path(folder)), self._backbones)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]
