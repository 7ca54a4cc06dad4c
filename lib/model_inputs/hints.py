"""What a model's own files say of its inputs: metadata of an ONNX file, a transformers preprocessor_config.json.

The answers go to ``samples.read`` and ``preprocessing.guess`` as ``hints``. Odd values are passed over: they are a
stranger's, and a guess stands in for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lib.model_inputs.preprocessing import MAX_SIDE, MEAN, STD

MAX_LABELS, LONGEST = 100_000, 1 << 22


def from_metadata(properties: Mapping[str, str]) -> dict[str, Any]:
    """``labels`` (or ``names``, ``classes``, ``id2label``): JSON or lines, a list or {"0": "cat"}; ``input``: words."""
    found: dict[str, Any] = {}
    for key in ("labels", "names", "classes", "id2label"):
        if (labels := _labels(properties.get(key, ""))) is not None:
            found["labels"] = labels
            break
    if words := properties.get("input", ""):
        found["input"] = str(words)[:1000]
    return found


def in_folder(folder: Path) -> dict[str, Any]:
    """Of a transformers folder: its preprocessor_config.json, and the classes of its config.json."""
    found = from_preprocessor_config(_read(folder / "preprocessor_config.json"))
    names = _read(folder / "config.json").get("id2label")
    return found | (from_metadata({"id2label": json.dumps(names)}) if isinstance(names, dict) else {})


def _read(path: Path) -> dict[str, Any]:
    try:
        given = json.loads(path.read_text()) if path.is_file() and path.stat().st_size <= LONGEST else {}
    except (OSError, ValueError, RecursionError):
        given = {}
    return given if isinstance(given, dict) else {}


def _labels(text: str) -> list[str] | None:
    if not isinstance(text, str) or not text or len(text) > LONGEST:
        return None
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = text.splitlines() if "\n" in text else None
    if isinstance(given, dict):
        if not all(str(k).isdecimal() for k in given) or sorted(int(k) for k in given) != list(range(len(given))):
            return None
        given = [given[k] for k in sorted(given, key=int)]
    if not isinstance(given, list) or not 0 < len(given) <= MAX_LABELS or not all(isinstance(n, str) for n in given):
        return None
    return given if len(set(given)) == len(given) else None


def from_preprocessor_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """``size``, ``crop`` and ``normalization`` of a transformers image processor, as far as a preset says the same."""
    found: dict[str, Any] = {}
    if not config:
        return found
    cropped = bool(config.get("do_center_crop")) and (size := _size(config.get("crop_size")))
    if cropped:
        found |= {"size": size, "crop": "center"}
    elif size := _size(config.get("size")):
        found |= {"size": size, "crop": "center" if _shortest(config.get("size")) else "squash"}
    if (preset := _normalization(config)) is not None:
        found["normalization"] = preset
    return found


def _size(given: Any) -> list[int] | None:
    if isinstance(given, Mapping):
        edge = given.get("shortest_edge")
        given = [given.get("height", edge), given.get("width", edge)]
    elif isinstance(given, int):
        given = [given, given]
    ok = isinstance(given, list) and len(given) == 2
    return given if ok and all(type(n) is int and 1 <= n <= MAX_SIDE for n in given) else None


def _shortest(given: Any) -> bool:
    return isinstance(given, Mapping) and "shortest_edge" in given


def _normalization(config: Mapping[str, Any]) -> str | None:
    factor = config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1
    if not isinstance(factor, int | float) or isinstance(factor, bool):
        return None
    if not config.get("do_normalize", "image_mean" in config):
        return "0..255" if factor == 1 else "0..1" if np.isclose(factor, 1 / 255) else None
    try:
        mean, std = (np.broadcast_to(np.array(config[k], np.float64), (3,)) for k in ("image_mean", "image_std"))
    except (KeyError, TypeError, ValueError):
        return None
    if not np.isclose(factor, 1 / 255):
        return None
    presets = {"imagenet": (MEAN, STD), "-1..1": (0.5, 0.5), "0..1": (0.0, 1.0)}
    return next(
        (n for n, (m, s) in presets.items() if np.allclose(mean, m, atol=5e-3) and np.allclose(std, s, atol=5e-3)), None
    )
