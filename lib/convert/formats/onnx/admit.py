"""An uploaded ONNX model with its external data: stored as an artifact under our own names."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

from lib.convert.formats import main_file
from lib.errors import InvalidFile
from lib.onnx_model.open import Model, open_model, tensors


def admit(name: str, path: Path, beside: dict[str, Path], folder: Path) -> tuple[str, list[str]]:
    """``onnx`` and messages. Only files that the model names are copied. Raises InvalidFile."""
    try:
        model = open_model(path, beside)
    except InvalidFile as error:
        if name.lower().endswith(".onnx"):
            raise
        raise InvalidFile(f"The file is of no format that is known here. Read as ONNX: {error.message}") from None
    if model.missing:
        raise InvalidFile(_absent(model))
    target = main_file("onnx", folder)
    places = (e.value for _, t in tensors(model.proto) for e in t.external_data if e.key == "location")
    used = sorted(set(places) & beside.keys())
    if target.name.casefold() in (one.casefold() for one in used):
        raise InvalidFile(
            f"The external data are in {target.name!r}, which is the model's own name here; save under another."
        )
    shutil.copyfile(path, target)
    for one in used:
        shutil.copyfile(beside[one], folder / one)
    left = sorted(beside.keys() - set(used))
    return "onnx", [f"Not named by the model and left out: {', '.join(n[:80] for n in left[:5])}."] if left else []


def _absent(model: Model) -> str:
    """One sentence for all files that are named by the model and were not uploaded."""
    places = [
        next((e.value for e in t.external_data if e.key == "location"), "")
        for where, t in tensors(model.proto)
        if where in model.missing
    ]
    counts = Counter(places)
    named = [f"{n[:80]!r} ({count} {'weight lives' if count == 1 else 'weights live'} there)" for n, count in counts.items()]
    more = f" and {len(named) - 4} more files" if len(named) > 4 else ""
    return f"The model is not complete: also upload {', '.join(named[:4])}{more}."
