"""The LoRAs of a loaded model. They are read in the background on first use and cached."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from lib.errors import InvalidValue, ModelUnavailable, WorkbenchError, out_of_memory
from lib.text_to_image.loras.catalogue import LoraCatalogue
from lib.text_to_image.loras.selection import Loras

if TYPE_CHECKING:
    from lib.text_to_image.loras.lora_file import Lora
    from lib.text_to_image.loras.lora_rows import WeightedLoras

TEXT_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
MAX_LOADED = 16
RETRY_SECONDS = 30.0  # after which a file that could not be read is tried again


class Adapters:
    """Cache of the LoRAs of one model. ``get`` blocks until the file is read; an engine with other rows running polls
    ``ready`` instead."""

    def __init__(self, pipeline: Any, catalogue: LoraCatalogue) -> None:
        self._pipeline, self._catalogue = pipeline, catalogue
        self._lock = threading.RLock()  # guards the tables
        self._reading = threading.Lock()
        self._loaded: dict[str, Lora] = {}
        self._failures: dict[str, tuple[float, WorkbenchError]] = {}
        self._loading = False

    def ready(self, loras: Loras, wake: Callable[[], None]) -> bool:
        """Return whether all LoRAs are loaded. A missing one is read in the background, then ``wake`` is called.

        Raises InvalidValue for a LoRA that does not fit the model, and ModelUnavailable for one that cannot be read.
        """
        with self._lock:
            for name, weight in loras:
                if weight:
                    self._raise_failure(name)
            missing = self.missing(loras)
            if missing and not self._loading:
                self._loading = True
                threading.Thread(target=self._load, args=(missing, wake), daemon=True, name=f"load {missing}").start()
            return not missing

    def missing(self, loras: Loras) -> str:
        """Return the name of a LoRA that is not loaded yet, or ""."""
        with self._lock:
            return next((name for name, weight in loras if weight and name not in self._loaded), "")

    def hashes(self, loras: Loras) -> dict[str, str]:
        """Return the hashes of the files of loaded LoRAs, for a picture's info."""
        with self._lock:
            return {name: self._loaded[name].hash for name, weight in loras if weight and name in self._loaded}

    def with_weights(self, loras: Loras) -> WeightedLoras:
        """Return the LoRAs of a request with their weights, sorted by name. Reads missing ones. Raises as ``ready`` does."""
        return tuple((self.get(name), weight) for name, weight in sorted(loras) if weight)

    def get(self, name: str) -> Lora:
        """Return a LoRA, reading its file if needed. Raises as ``ready`` does."""
        cached = self._find(name)
        if cached is not None:
            return cached
        with self._reading:
            cached = self._find(name)  # another thread may have read it meanwhile
            if cached is not None:
                return cached
            try:
                lora = self._read(name)
            except WorkbenchError as error:
                with self._lock:  # a copy without the traceback, whose frames hold the file's tensors
                    self._failures[name] = time.monotonic(), _again(error)
                raise
            with self._lock:
                while len(self._loaded) >= MAX_LOADED:  # running rows keep references to theirs
                    del self._loaded[next(iter(self._loaded))]
                self._loaded[name] = lora
            return lora

    def _find(self, name: str) -> Lora | None:
        with self._lock:
            if name in self._loaded:
                self._loaded[name] = self._loaded.pop(name)  # mark as most recently used
                return self._loaded[name]
            self._raise_failure(name)
            return None

    @contextmanager
    def apply(self, rows: Sequence[WeightedLoras], *components: str, separately: bool = False) -> Iterator[None]:
        """Apply the LoRAs of ``rows`` to the named components of the pipeline within the block (``lora_rows.py``)."""
        with ExitStack() as stack:
            if any(rows):
                from lib.text_to_image.loras.lora_rows import apply_loras

                for component in components:
                    network = getattr(self._pipeline, component, None)
                    if network is not None:
                        stack.enter_context(apply_loras(network, component, rows, separately=separately))
            yield

    def _load(self, name: str, wake: Callable[[], None]) -> None:
        try:
            self.get(name)
        except WorkbenchError:
            pass  # raised by the next call of ``ready``
        finally:
            with self._lock:
                self._loading = False
            wake()

    def _read(self, name: str) -> Lora:
        from lib.text_to_image.loras.lora_file import read

        try:
            return read(name, self._catalogue.sources[name].file(), self._pipeline)
        except InvalidValue:
            raise
        except Exception as error:
            reason = str(error) if isinstance(error, ModelUnavailable) else type(error).__name__
            reason = "the device has too little memory" if out_of_memory(error) else reason
            message = f"The LoRA {name!r} could not be loaded: {reason}."
            logging.getLogger(__name__).warning(message)
            raise ModelUnavailable(message) from error

    def _raise_failure(self, name: str) -> None:
        when, error = self._failures.get(name, (0.0, None))
        if error is not None and time.monotonic() - when < RETRY_SECONDS:
            raise _again(error)


def _again(error: WorkbenchError) -> WorkbenchError:
    if isinstance(error, InvalidValue):
        return InvalidValue(error.field, error.given, error.allowed)
    return ModelUnavailable(str(error))
