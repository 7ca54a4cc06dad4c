"""What the file says about itself: its metadata, its signatures, and what writers leave beside them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from lib.errors import InvalidFile
from lib.reports.words import cut
from lib.tflite import metadata as metadata_
from lib.tflite.signatures import keys
from lib.tflite_inspect import names
from lib.tflite_inspect.graph import free

TEXT, MOST_LABELS, MOST = 4000, 2000, 200  # characters of a text; labels and other entries that are listed
RUNTIME = "min_runtime_version"
PRESETS = {"0..255": (0, 1), "0..1": (0, 255), "-1..1": (127.5, 127.5)}  # what pictures become, by mean and std


def metadata(path: Path) -> tuple[dict[str, Any] | None, str]:
    """As plain values, None where there is none; and why what is there cannot be read."""
    try:
        found = metadata_.read(path)
    except InvalidFile as error:
        return None, error.message
    return (None if found is None else plain(found)), ""


def plain(found: metadata_.Metadata) -> dict[str, Any]:
    """``labels`` has the first 2,000 of ``labels_count``; ``files`` are names and sizes in bytes."""
    texts = {name: cut(getattr(found, name), TEXT) for name in ("name", "description", "version", "author", "license")}
    notes = {
        side: [
            {k: v for k, v in asdict(note).items() if k != "shape"} | {"range": list(note.range) if note.range else None}
            for note in getattr(found, side)[:MOST]
        ]
        for side in ("inputs", "outputs")
    }
    return texts | {
        "labels": list(found.labels[:MOST_LABELS]),
        "labels_count": len(found.labels),
        "mean": list(found.mean),
        "std": list(found.std),
        "files": {cut(name, TEXT): len(data) for name, data in list(found.files.items())[:MOST]},
        **notes,
    }


def hints(found: dict[str, Any] | None) -> dict[str, Any]:
    """What the metadata say of pictures, in the words of ``lib.model_inputs``."""
    out: dict[str, Any] = {}
    if found is None:
        return out
    if found["labels"] and len(found["labels"]) == found["labels_count"] == len(set(found["labels"])):
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
    for one in model["signature_defs"][:MOST]:
        tensors = model["subgraphs"][one["subgraph"]]["tensors"]
        sides = {
            side: [
                {
                    "name": cut(m["name"], TEXT),
                    "dtype": names.dtype(tensors[m["tensor"]]["type"]),
                    "shape": free(tensors[m["tensor"]]),
                }
                for m in one[side][:MOST]
            ]
            for side in ("inputs", "outputs")
        }
        out.append({"key": cut(one["key"], TEXT), "graph": one["subgraph"], "run": one["key"] in compared} | sides)
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
    return [cut(entry["name"], TEXT) for entry in model["metadata"][:MOST]]
