"""Caches runs' networks and their exported files, in the processes that classify and compare."""

from __future__ import annotations

import time
from collections import OrderedDict
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from lib.errors import InvalidValue, NotFound
from lib.train.edge import export_store
from lib.train.frameworks import framework
from lib.train.runs import Run
from lib.train.training import BEST, Classifier

if TYPE_CHECKING:
    from lib.train.edge.runtimes import Runtime

MAX_NETWORKS = 2  # networks in memory
READY = "Ready"  # stage reported by the classification process once it listens
PYTORCH = "pytorch"  # stands for the framework that trained the run, PyTorch or Keras
TFLITE = ("tflite", "tflite-fp16", "tflite-int8")
TARGETS = {"onnxruntime": ("onnx",), "litert": TFLITE, "mediapipe": TFLITE}  # by preference
RUNTIMES = (PYTORCH, *TARGETS)


def file_for(run: Run, runtime: str) -> Path | None:
    """Returns the exported file for ``runtime``, or None for the run's own framework.

    Raises InvalidValue for an unknown runtime, NotFound if the file has not been exported (yet).
    """
    if runtime not in RUNTIMES:
        raise InvalidValue("runtime", runtime, ", ".join(RUNTIMES))
    if runtime == PYTORCH:
        return None
    for target in TARGETS[runtime]:
        if (path := export_store.path(run, target)) is not None:
            return path
    raise NotFound(f"{runtime} needs an exported file, which this run lacks. Export it to {TARGETS[runtime][0]} first.")


def stamp(folder: Path) -> int:
    """Returns the modification time of the run's weights in nanoseconds, or 0 if it has none."""
    weights = folder / BEST
    return weights.stat().st_mtime_ns if weights.is_file() else 0


class LoadedRun:
    """A run's network with its classes, its image size and the stamp of its weights."""

    def __init__(self, run: Run, backbones: tuple[str, ...]) -> None:
        record = run.record()
        recipe = record.parsed_recipe()
        self.run, self.classes, self.size = run, record.classes, recipe.image_size
        self.stamp = stamp(run.folder)
        self.classifier: Classifier = framework(recipe.framework).load(recipe, self.classes, run.folder, backbones)
        self._open: dict[str, tuple[tuple[Path, int], ExitStack, Runtime]] = {}  # by runtime

    def open(self, runtime: str) -> Runtime | None:
        """Returns the run's file opened in ``runtime``, or None for its own framework.

        Raises the errors of ``file_for`` and of the runtimes.
        """
        if (path := file_for(self.run, runtime)) is None:
            return None
        from lib.train.edge.runtimes import open_runtime

        key = path, path.stat().st_mtime_ns
        if runtime not in self._open or self._open[runtime][0] != key:
            self._close_runtime(runtime)
            stack = ExitStack()
            self._open[runtime] = key, stack, stack.enter_context(open_runtime(runtime, self.run, path))
        return self._open[runtime][2]

    def has(self, runtime: str) -> bool:
        """Returns whether ``open`` has nothing to load, provided the file is unchanged."""
        return runtime == PYTORCH or runtime in self._open

    def close(self) -> None:
        for runtime in list(self._open):
            self._close_runtime(runtime)

    def _close_runtime(self, runtime: str) -> None:
        if runtime in self._open:
            self._open.pop(runtime)[1].close()


class NetworkCache:
    """An LRU cache of ``MAX_NETWORKS`` networks. A network is reloaded when its weights change."""

    def __init__(self, backbones: tuple[str, ...]) -> None:
        self._backbones = backbones
        self._kept: OrderedDict[tuple[str, int], LoadedRun] = OrderedDict()

    def get(self, folder: str) -> LoadedRun:
        key = folder, stamp(Path(folder))
        if key not in self._kept:
            self._kept[key] = LoadedRun(Run(Path(folder)), self._backbones)
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_NETWORKS:
            self._kept.popitem(last=False)[1].close()
        return self._kept[key]

    def ready(self, folder: str, runtime: str) -> tuple[LoadedRun, float]:
        """Returns the network with ``runtime`` open, and the seconds spent loading: 0.0 if both were in memory."""
        began = time.perf_counter()
        cached = self._kept.get((folder, stamp(Path(folder))))
        loaded = cached is not None and cached.has(runtime)
        network = self.get(folder)
        network.open(runtime)
        return network, 0.0 if loaded else time.perf_counter() - began

    def close(self) -> None:
        while self._kept:
            self._kept.popitem()[1].close()
