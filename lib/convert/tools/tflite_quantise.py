"""Calls AI Edge Quantizer on a verified TensorFlow Lite file. Knows nothing of what the edges ask of it."""

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
    "Nothing was quantised: the model has no layers with float32 weights that the tool takes, or all were left float. "
    "The file would be no smaller."
)


def quantiser(source: Path) -> Any:
    """A Quantizer of the artifact, whose structure has been verified. Raises InvalidFile."""
    from ai_edge_quantizer import quantizer

    path = source / tflite_file.NAME
    tflite_file.read(path)
    try:
        return quantizer.Quantizer(path)
    except Exception as error:  # of flatbuffers, numpy and its own
        raise failure(error) from None


def save(made: Any, target: Path) -> list[str]:
    """Writes the artifact and says how many of its tensors changed their type."""
    path = target / tflite_file.NAME
    try:
        made.export_model(path)
    except Exception as error:
        raise failure(error) from None
    return weight_types(target)


def weight_types(target: Path) -> list[str]:
    """How many of the artifact's tensors with weights have which type."""
    held = _weights(tflite_file.read(target / tflite_file.NAME))
    return ["Weights now: " + ", ".join(f"{n} of {kind}" for kind, n in sorted(held.items())) + "."]


def with_current_codes(source: Path, folder: Path) -> Path:
    """A copy of the artifact in ``folder`` with operator codes that the tool reads (``tflite_codes``)."""
    import shutil

    from lib.tflite import codes as tflite_codes

    for path in source.iterdir():  # which signature was chosen, for one
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
    """The tool draws bars of progress and logs every choice."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def failure(error: Exception) -> JobFailed:
    return JobFailed(f"AI Edge Quantizer gave up: {sanitize_message(error)}")


def _weights(model: dict[str, Any]) -> dict[str, int]:
    """Tensors with weights, by dtype."""
    found: dict[str, int] = {}
    for graph in model["subgraphs"]:
        for tensor in graph["tensors"]:
            buffer = model["buffers"][tensor["buffer"]]
            if len(buffer["data"]) or buffer["offset"] > 1:
                kind = tflite_file.DTYPES.get(tensor["type"], "another type")
                found[kind] = found.get(kind, 0) + 1
    return found
