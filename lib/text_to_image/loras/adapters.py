"""The LoRAs of one loaded model: read when first asked for, in the background, and kept beside it."""

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
RETRY_SECONDS = 30.0  # after which a file that could not be read is tried once more


class Adapters:
    """``get`` reads at once; an engine that has other rows under way asks ``ready`` until it is true."""

    def __init__(self, pipeline: Any, catalogue: LoraCatalogue) -> None:
        self._pipeline, self._catalogue = pipeline, catalogue
        self._lock = threading.RLock()  # of the tables
        self._reading = threading.Lock()
        self._loaded: dict[str, Lora] = {}
        self._failures: dict[str, tuple[float, WorkbenchError]] = {}
        self._loading = False

    def ready(self, loras: Loras, wake: Callable[[], None]) -> bool:
        """Whether all are there. What is missing is read in the background, and then ``wake`` is called.

        Raises InvalidValue for one that does not fit the model, ModelUnavailable for one that cannot be read.
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
        """The name of one that is yet to be read, or ""."""
        with self._lock:
            return next((name for name, weight in loras if weight and name not in self._loaded), "")

    def hashes(self, loras: Loras) -> dict[str, str]:
        """What pictures tell of the files that they were made with."""
        with self._lock:
            return {name: self._loaded[name].hash for name, weight in loras if weight and name in self._loaded}

    def with_weights(self, loras: Loras) -> WeightedLoras:
        """What a row of this request gets, in the order of names; read now where it is missing. Raises as ``ready``."""
        return tuple((self.get(name), weight) for name, weight in sorted(loras) if weight)

    def get(self, name: str) -> Lora:
        """Raises as ``ready``."""
        found = self._find(name)
        if found is not None:
            return found
        with self._reading:
            found = self._find(name)  # another thread may have read it meanwhile
            if found is not None:
                return found
            try:
                lora = self._read(name)
            except WorkbenchError as error:
                with self._lock:  # without its frames, which hold what was read of the file
                    self._failures[name] = time.monotonic(), _again(error)
                raise
            with self._lock:
                while len(self._loaded) >= MAX_LOADED:  # rows under way hold theirs
                    del self._loaded[next(iter(self._loaded))]
                self._loaded[name] = lora
            return lora

    def _find(self, name: str) -> Lora | None:
        with self._lock:
            if name in self._loaded:
                self._loaded[name] = self._loaded.pop(name)  # the most recently used one now
                return self._loaded[name]
            self._raise_failure(name)
            return None

    @contextmanager
    def apply(self, rows: Sequence[WeightedLoras], *components: str, separately: bool = False) -> Iterator[None]:
        """The named parts of the pipeline give ``rows`` their LoRAs (``lora_rows.py``)."""
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
            pass  # the next ``ready`` raises it
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
            why = str(error) if isinstance(error, ModelUnavailable) else type(error).__name__
            why = "the device has too little memory" if out_of_memory(error) else why
            words = f"The LoRA {name!r} could not be loaded: {why}."
            logging.getLogger(__name__).warning(words)
            raise ModelUnavailable(words) from error

    def _raise_failure(self, name: str) -> None:
        when, error = self._failures.get(name, (0.0, None))
        if error is not None and time.monotonic() - when < RETRY_SECONDS:
            raise _again(error)


def _again(error: WorkbenchError) -> WorkbenchError:
    if isinstance(error, InvalidValue):
        return InvalidValue(error.field, error.given, error.allowed)
    return ModelUnavailable(str(error))
