"""Cache of the models in memory: loads them in the background and evicts the least recently used."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable
from logging import WARNING

from lib import log, metrics
from lib.errors import ModelUnavailable
from lib.settings import Settings
from lib.text_to_image.model_loading import load
from lib.text_to_image.models import Catalogue, Model
from lib.text_to_image.request import Request

RETRY_SECONDS = 30.0


class ModelCache:
    """Holds at most ``settings.loaded_models`` models and loads one at a time."""

    def __init__(self, catalogue: Catalogue, settings: Settings, on_change: Callable[[], None]) -> None:
        self.catalogue, self.settings, self._on_change = catalogue, settings, on_change
        self.loaded: dict[str, Model] = {}
        self.loading = ""
        self.stage = "starting"
        self.since = time.monotonic()
        # messages only: an exception would keep its frames, and so the partly loaded model, alive
        self._failures: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Model | None:
        """Return the model if it is loaded, and mark it as recently used. Raises ModelUnavailable if loading failed."""
        with self._lock:
            if name in self.loaded:
                self.loaded[name] = self.loaded.pop(name)
                return self.loaded[name]
            when, message = self._failures.get(name, (0.0, ""))
            if message and time.monotonic() - when < RETRY_SECONDS:
                raise ModelUnavailable(message)
            return None

    def start_loading(self, name: str, busy: set[str]) -> bool:
        """Start loading ``name``. Returns False while another model loads or if all loaded models are ``busy``."""
        with self._lock:
            if self.loading:
                return self.loading == name
            while len(self.loaded) >= self.settings.loaded_models:
                idle = next((n for n in self.loaded if n not in busy), None)
                if idle is None:
                    return False
                self.loaded.pop(idle).close()
            self.loading, self.since, self.stage = name, time.monotonic(), "starting"
        threading.Thread(target=self._load, args=(name,), daemon=True, name=f"load {name}").start()
        return True

    def close(self) -> None:
        """Stop background work of the models."""
        for model in self.all():
            model.close()

    def reload_default(self) -> None:
        """Load the default model again if none is loaded: another one may have evicted it and then failed, or the Hub was
        temporarily unavailable."""
        if self.current is None and not self.loading:
            try:
                if self.get(self.catalogue.default) is None:
                    self.start_loading(self.catalogue.default, set())
            except ModelUnavailable:
                pass  # too soon

    def _load(self, name: str) -> None:
        gc.collect()
        if "torch" in sys.modules:
            sys.modules["torch"].cuda.empty_cache()
        try:
            with metrics.LOAD_SECONDS.labels(name).time():
                model = load(self.catalogue.choose(name), self.settings, self._report)
        except ModelUnavailable as error:
            with self._lock:
                self._failures[name] = (time.monotonic(), str(error))
            log.event("model_failed", WARNING, model=name)
        else:
            with self._lock:
                self.loaded[name] = model
                self._failures.pop(name, None)
            log.event("model_loaded", model=name, seconds=round(time.monotonic() - self.since, 3))
        finally:
            self.loading = ""
            self._on_change()

    def _report(self, stage: str) -> None:
        self.stage = stage
        self._on_change()

    def missing_lora(self, request: Request) -> str:
        """Return the name of a LoRA of the request that is not loaded yet, or ""."""
        with self._lock:
            model = self.loaded.get(request.model)
        return model.adapters.missing(request.loras) if model else ""

    def all(self) -> list[Model]:
        """Return the models in memory."""
        with self._lock:
            return list(self.loaded.values())

    @property
    def current(self) -> Model | None:
        """The most recently used model."""
        with self._lock:
            return next(reversed(self.loaded.values()), None)

    @property
    def failure(self) -> str:
        """The default model's failure, if its last load failed."""
        return self._failures.get(self.catalogue.default, (0.0, ""))[1]
