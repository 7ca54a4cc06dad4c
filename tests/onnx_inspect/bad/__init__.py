"""Files that an attacker or an accident would upload, each made here: a table of what is expected of them.

``REFUSED`` files are no model (InvalidFile), ``REPORTED`` ones get a report with ``valid`` false and an
error, ``ANSWERED`` ones are odd but get a report either way, ``VALID`` ones only look odd. A new bad file
is a new function (or row) in one of the modules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module

from onnx import ModelProto

REFUSED, REPORTED, ANSWERED, VALID = "refused", "reported", "answered", "valid"


@dataclass(frozen=True)
class Upload:
    model: bytes
    externals: dict[str, bytes] = field(default_factory=dict)


Made = bytes | ModelProto | Upload


@dataclass(frozen=True)
class Bad:
    """``words`` are in the message of the error, or of one of the report's errors."""

    name: str
    outcome: str
    words: str
    make: Callable[[], Made]
    run: bool = True  # in a runtime, too

    def upload(self) -> Upload:
        made = self.make()
        if isinstance(made, ModelProto):
            made = made.SerializeToString()
        return Upload(made) if isinstance(made, bytes) else made


TABLE: dict[str, Bad] = {}


def bad(
    outcome: str, words: str = "", name: str = "", *, run: bool = True
) -> Callable[[Callable[[], Made]], Callable[[], Made]]:
    """Registers the function that makes a file."""

    def register(make: Callable[[], Made]) -> Callable[[], Made]:
        key = name or make.__name__.replace("_", " ").strip()
        assert key not in TABLE, key
        TABLE[key] = Bad(key, outcome, words, make, run)
        return make

    return register


for module in ("not_onnx", "external", "structure", "values", "big"):
    import_module(f"{__name__}.{module}")
