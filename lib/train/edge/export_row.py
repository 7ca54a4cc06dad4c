"""The measurements of one exported file: its row in the table of exports, stored in the run's record."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

PROVEN, WITHHELD = "proven", "withheld"


@dataclass(slots=True, kw_only=True)
class ExportRow:
    """``file`` is a name in the run's ``exports`` folder, None if withheld; ``why`` explains the verdict.

    ``accuracy`` and its 95 % ``interval`` are on ``count`` images of the split ``on``; ``same_label`` is the share of them
    with the same label as the run's own network, ``difference`` the largest difference of a probability. ``milliseconds``
    is the median per image with ``threads`` threads on this machine, in ``runtime``; ``noisy`` marks widely varying times,
    as on a busy machine. ``mediapipe``: whether MediaPipe ran the file; None for ONNX, which it does not support.
    ``float_layers`` of ``layers`` stay float in an int8 file, which took ``attempts``. ``seconds`` is by step.
    """

    target: str
    verdict: str
    why: str = ""
    file: str | None = None
    sha256: str = ""
    megabytes: float | None = None
    accuracy: float | None = None
    interval: list[float] | None = None
    on: str = "validation"
    count: int = 0
    same_label: float | None = None
    difference: float | None = None
    milliseconds: float | None = None
    noisy: bool = False
    threads: int = 0
    runtime: str = ""
    mediapipe: bool | None = None
    float_layers: int = 0
    layers: int = 0
    attempts: int = 1
    note: str = ""
    weights: str = ""
    seconds: dict[str, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, values: Any) -> ExportRow | None:
        """Parse JSON that a child process may have written; returns None if it is not a valid row."""
        if not isinstance(values, Mapping) or {"target", "verdict"} - values.keys():
            return None
        known = {f.name: f for f in fields(cls)}
        if values.keys() - known.keys() or not all(_CHECKS[str(known[n].type)](v) for n, v in values.items()):
            return None
        return cls(**values) if values["verdict"] in (PROVEN, WITHHELD) else None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 4000


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "str": _text,
    "int": _whole,
    "bool": lambda v: isinstance(v, bool),
    "str | None": lambda v: v is None or _text(v),
    "float | None": lambda v: v is None or _number(v),
    "bool | None": lambda v: v is None or isinstance(v, bool),
    "list[float] | None": lambda v: v is None or (isinstance(v, list) and len(v) == 2 and all(map(_number, v))),
    "dict[str, float] | None": lambda v: (
        v is None or (isinstance(v, dict) and len(v) < 50 and all(_text(k) and _number(n) for k, n in v.items()))
    ),
}
