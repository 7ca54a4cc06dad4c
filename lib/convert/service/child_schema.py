"""Whether what a child process answered has the types that the app reads: it may have been taken over by a file.

Checks types and names of files, not truth: what a converted model computes is for the proof.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from lib.convert.proof.tolerances import PRECISIONS
from lib.errors import JobFailed
from lib.model_inputs.signature import Signature

Check = Callable[[Any], bool]
FILE = re.compile(r"[\w-]{1,40}\.npz", re.ASCII)
PICTURE = re.compile(r"[A-Za-z0-9+/]{1,100000}={0,2}")  # a PNG as base64
DIGEST = re.compile(r"[0-9a-f]{64}")


def text(value: Any) -> bool:
    return isinstance(value, str)


def truth(value: Any) -> bool:
    return isinstance(value, bool)


def count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def duration(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def absent_or(check: Check) -> Check:
    return lambda value: value is None or check(value)


def many(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(check(one) for one in value)


def table(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(isinstance(k, str) and check(v) for k, v in value.items())


def like(pattern: re.Pattern[str]) -> Check:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def plain(value: Any, depth: int = 0) -> bool:
    """A table of JSON values, not too deep and not too long."""
    if isinstance(value, dict):
        return depth < 6 and len(value) < 5000 and all(isinstance(k, str) and plain(v, depth + 1) for k, v in value.items())
    if isinstance(value, list):
        return depth < 6 and len(value) < 5000 and all(plain(v, depth + 1) for v in value)
    finite = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf
    return bool(depth) and (value is None or isinstance(value, str | bool) or finite)


def record(value: Any) -> bool:
    return isinstance(value, dict) and plain(value)


def signature(value: Any) -> bool:
    try:
        found = Signature.from_dict(value)
    except (TypeError, ValueError, KeyError, AttributeError):
        return False
    values = (*found.inputs, *found.outputs)
    right = all(text(v.name) and text(v.dtype) and text(v.role) and absent_or(count)(v.high) for v in values)
    shapes = all(text(d) or count(d) for v in values for d in v.shape)
    return right and shapes and all(text(name) and all(map(count, some)) for name, some in found.sizes.items())


def case(value: Any) -> bool:
    return isinstance(value, dict) and all(check(value.get(name)) for name, check in CASE.items())


# ``file`` becomes part of a path
CASE: dict[str, Check] = {
    "kind": text,
    "seed": count,
    "sizes": table(count),
    "file": like(FILE),
    "changed": text,
    "label": absent_or(count),
}
SAMPLES: dict[str, Check] = {
    "name": text,
    "kind": text,
    "count": count,
    "labels": truth,
    "classes": many(text),
    "preprocessing": absent_or(record),
    "calibration": count,
    "judged": count,
    "shared": count,
    "messages": many(text),
}
ANSWERS: dict[str, dict[str, Check]] = {
    "admit": {"format": text, "messages": many(text), "bytes": count, "weights": text},
    "describe": {"signature": signature, "preprocessing": absent_or(record)},
    "preview_samples": {
        "name": text,
        "kind": text,
        "count": count,
        "classes": table(count),
        "labels": count,
        "preprocessing": absent_or(record),
        "arrays": many(record),
        "pictures": many(lambda v: isinstance(v, dict) and like(PICTURE)(v.get("png")) and text(v.get("label"))),
        "messages": many(text),
    },
    "run_edge": {
        "messages": many(text),
        "inputs": table(text),
        "outputs": table(text),
        "fixed": table(count),
        "limits": table(count),
        "blind_spots": many(text),
        "lost": many(text),
        "unchanged": text,
        "layers": many(record),
        "chosen": record,
        "bytes": count,
        "files": table(like(DIGEST)),
        "precision": absent_or(lambda value: value in PRECISIONS),
        "tool": absent_or(text),
    },
    "run_source": {
        "signature": signature,
        "sizes": table(count),
        "sizes_note": text,
        "constants": many(text),
        "samples": absent_or(lambda value: isinstance(value, dict) and all(c(value.get(n)) for n, c in SAMPLES.items())),
        "cases": many(case),
        "refused": many(text),
        "blind_spots": many(text),
        "steady": truth,
        "median_ms": absent_or(duration),
    },
    "run_further": {"cases": many(case)},
    "run_target": {
        "signature": signature,
        "refused": table(text),
        "reference": absent_or(text),
        "median_ms": absent_or(table(duration)),
        "steady_ms": absent_or(truth),
        "notes": many(text),
    },
}


def checked(task: str, said: dict[str, Any]) -> dict[str, Any]:
    """``said``, without keys that nobody reads. Raises JobFailed."""
    checks = ANSWERS[task]
    if wrong := [name for name, check in checks.items() if not check(said.get(name))]:
        raise JobFailed(f"The process that converted answered nonsense ({', '.join(wrong)}). Nothing else was affected.")
    return {name: said[name] for name in checks if said.get(name) is not None or name not in ("precision", "tool")}
