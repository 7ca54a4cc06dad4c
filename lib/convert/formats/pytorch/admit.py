"""Stores an uploaded transformers config.json, with or without weights, as an artifact."""

from __future__ import annotations

import shutil
from pathlib import Path

from lib.convert.core import transformers_config
from lib.convert.formats.weights.safetensors_check import check_safetensors, is_safetensors
from lib.errors import InvalidFile

CONFIG, WEIGHTS = "config.json", "weights.safetensors"


def admit(name: str, path: Path, beside: dict[str, Path], folder: Path) -> tuple[str, list[str]]:
    """Writes ``config.json``, and ``weights.safetensors`` if uploaded, into ``folder``.

    Returns the format name ``architecture`` and messages for the user. Raises InvalidFile.
    """
    if len(beside) > 1:
        raise InvalidFile("Only one weights file is allowed with config.json. Merge several into one safetensors file.")
    transformers_config.write_checked(path, folder / CONFIG)
    for weights in beside.values():
        with weights.open("rb") as file:
            head = file.read(16)
        if not is_safetensors(head, weights.stat().st_size):
            raise InvalidFile("The weights beside config.json must be safetensors; convert a checkpoint separately first.")
        check_safetensors(weights)
        shutil.copyfile(weights, folder / WEIGHTS)
    return "architecture", [] if beside else ["No weights were uploaded with config.json, so they are random."]
