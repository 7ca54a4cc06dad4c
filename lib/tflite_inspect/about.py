"""What the file says about itself: its metadata, its signatures, and what writers leave beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.errors import InvalidFile
from lib.reports.words import cut
from lib.tflite import tasks
from lib.tflite.signatures import keys
from lib.tflite_inspect import names
from lib.tflite_inspect.graph import free

MAX_TEXT, MAX_ENTRIES = 4000, 200  # characters of a text; entries that are listed
RUNTIME = "min_runtime_version"
PRESETS = {"0..255": (0, 1), "0..1": (0, 255), "-1..1": (127.5, 127.5)}  # what pictures become, by mean and std


def metadata(path: Path) -> tuple[dict[str, Any] | None, str]:
    """As ``lib.tflite.tasks.metadata`` tells them, ``present`` or not; None where they cannot be read, and why."""
    try:
        return tasks.metadata(_quiet, str(path)), ""
    except InvalidFile as error:
        return None, error.message


def _quiet(*_: Any) -> None:
    pass


def hints(found: dict[str, Any] | None) -> dict[str, Any]:
    """What the metadata say of pictures, in the words of ``lib.model_inputs``."""
    out: dict[str, Any] = {}
    if found is None:
        return out
    if found["labels"] and len(found["labels"]) == len(set(found["labels"])):
        out["labels"] = found["labels"]
    mean, std = found["mean"], found["std"]
    if mean and std:
        for name, (m, s) in PRESETS.items():
            if all(abs(v - m) < 0.51 for v in mean) and all(abs(v - s) < 0.51 for v in std):
                out["normalization"] = name
    return out


def signatures(model: dict[str, Any]) -> list[dict[str, Any]]:
    """``key``, ``graph``, and ``inputs`` and ``outputs`` as name -> dtype and shape; the same graph's may be there twice."""
    compared = set(keys(model))
    out = []
    for one in model["signature_defs"][:MAX_ENTRIES]:
        tensors = model["subgraphs"][one["subgraph"]]["tensors"]
        sides = {
            side: [
                {
                    "name": cut(m["name"], MAX_TEXT),
                    "dtype": names.dtype(tensors[m["tensor"]]["type"]),
                    "shape": free(tensors[m["tensor"]]),
                }
                for m in one[side][:MAX_ENTRIES]
            ]
            for side in ("inputs", "outputs")
        }
        out.append({"key": cut(one["key"], MAX_TEXT), "graph": one["subgraph"], "run": one["key"] in compared} | sides)
    return out


def runtime(model: dict[str, Any]) -> str:
    """The oldest TensorFlow Lite that its writer thinks can run it; "" where it does not say."""
    for entry in model["metadata"]:
        if entry["name"] == RUNTIME and entry["buffer"] < len(model["buffers"]):
            data = model["buffers"][entry["buffer"]]["data"]
            return bytes(data[:40]).split(b"\0")[0].decode("ascii", "replace") if len(data) else ""
    return ""


def entries(model: dict[str, Any]) -> list[str]:
    """Names of all entries beside the graphs."""
    return [cut(entry["name"], MAX_TEXT) for entry in model["metadata"][:MAX_ENTRIES]]
