"""Stores an uploaded ONNX model and its external data as an artifact."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

from lib.convert.formats import main_file
from lib.errors import InvalidFile
from lib.onnx_model.open import Model, open_model, tensors


def admit(name: str, path: Path, beside: dict[str, Path], folder: Path) -> tuple[str, list[str]]:
    """Copies the model and the external data files it references into ``folder``.

    Returns the format name ``onnx`` and messages for the user. Raises InvalidFile.
    """
    try:
        model = open_model(path, beside)
    except InvalidFile as error:
        if name.lower().endswith(".onnx"):
            raise
        raise InvalidFile(f"Unknown file format. Read as ONNX: {error.message}") from None
    if model.missing:
        raise InvalidFile(_absent(model))
    target = main_file("onnx", folder)
    locations = (e.value for _, t in tensors(model.proto) for e in t.external_data if e.key == "location")
    referenced = sorted(set(locations) & beside.keys())
    if target.name.casefold() in (file_name.casefold() for file_name in referenced):
        raise InvalidFile(
            f"The external data file is called {target.name!r}, the model's own name here; save it under another name."
        )
    shutil.copyfile(path, target)
    for file_name in referenced:
        shutil.copyfile(beside[file_name], folder / file_name)
    unused = sorted(beside.keys() - set(referenced))
    return "onnx", [f"Not referenced by the model, so left out: {', '.join(n[:80] for n in unused[:5])}."] if unused else []


def _absent(model: Model) -> str:
    """Returns one sentence that lists the external data files missing from the upload."""
    locations = [
        next((e.value for e in t.external_data if e.key == "location"), "")
        for weight_name, t in tensors(model.proto)
        if weight_name in model.missing
    ]
    counts = Counter(locations)
    file_notes = [
        f"{n[:80]!r} ({count} {'weight lives' if count == 1 else 'weights live'} there)" for n, count in counts.items()
    ]
    suffix = f" and {len(file_notes) - 4} more files" if len(file_notes) > 4 else ""
    return f"The model is incomplete: also upload {', '.join(file_notes[:4])}{suffix}."
