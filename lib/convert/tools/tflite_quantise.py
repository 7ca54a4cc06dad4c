"""Calls AI Edge Quantizer on a verified TensorFlow Lite file."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from lib.convert.core.tool_messages import sanitize_message
from lib.errors import JobFailed
from lib.tflite import file as tflite_file
from lib.tflite import weights as tflite_weights

NOTHING = (
    "Nothing was quantised: the model has no layers with float32 weights that the tool supports, or all were left float. "
    "The file would be no smaller."
)


def quantiser(source: Path) -> Any:
    """Returns a Quantizer for the artifact after verifying its structure. Raises InvalidFile, or JobFailed from the tool."""
    from ai_edge_quantizer import quantizer

    path = source / tflite_file.NAME
    tflite_file.read(path)
    try:
        return quantizer.Quantizer(path)
    except Exception as error:  # flatbuffers', numpy's and its own
        raise failure(error) from None


def save(made: Any, target: Path) -> list[str]:
    """Writes the artifact; returns a message with the types of its weights."""
    path = target / tflite_file.NAME
    try:
        made.export_model(path)
    except Exception as error:
        raise failure(error) from None
    return weight_types(target)


def weight_types(target: Path) -> list[str]:
    """Returns a message with the number of weight tensors per dtype."""
    counts = _weights(tflite_file.read(target / tflite_file.NAME))
    return ["Weights now: " + ", ".join(f"{n} of {kind}" for kind, n in sorted(counts.items())) + "."]


def with_current_codes(source: Path, folder: Path) -> Path:
    """Copies the artifact to ``folder``, with operator codes that the tool can read (``lib/tflite/codes.py``)."""
    import shutil

    from lib.tflite import codes as tflite_codes

    for path in source.iterdir():  # for example, the file that names the chosen signature
        if path.is_file() and path.name != tflite_file.NAME:
            shutil.copy(path, folder)
    tflite_codes.upgrade_operator_codes(source / tflite_file.NAME, folder / tflite_file.NAME)
    return folder


def quantised(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether fewer bytes of weights are float32 than before."""
    return tflite_weights.stored_bytes(after).get(tflite_weights.FLOAT32, 0) < tflite_weights.stored_bytes(before).get(
        tflite_weights.FLOAT32, 0
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Silences the tool, which draws progress bars and logs every choice."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def failure(error: Exception) -> JobFailed:
    """Returns a JobFailed with the tool's message."""
    return JobFailed(f"AI Edge Quantizer gave up: {sanitize_message(error)}")


def _weights(model: dict[str, Any]) -> dict[str, int]:
    """Counts tensors with stored values, by dtype."""
    counts: dict[str, int] = {}
    for graph in model["subgraphs"]:
        for tensor in graph["tensors"]:
            buffer = model["buffers"][tensor["buffer"]]
            if len(buffer["data"]) or buffer["offset"] > 1:
                kind = tflite_file.DTYPES.get(tensor["type"], "another type")
                counts[kind] = counts.get(kind, 0) + 1
    return counts
