"""Uploads become artifacts: recognised by content, checked before any loader may look, laid out under our own names.

Runs in a child process (``lib/jobs.py``) and opens no framework. Files are copied in chunks; of a model only its
structure is read. A new format is a row in ``TAKERS``.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from lib.convert.core import transformers_config
from lib.convert.formats import main_file
from lib.convert.formats.diffusers import check as diffusers_zip
from lib.convert.formats.keras import check as keras_file
from lib.convert.formats.pt2.check import PT2_CLOSED, check_pt2
from lib.convert.formats.saved_model import check as saved_model_zip
from lib.convert.formats.weights.safetensors_check import SINGLE_FILE, check_safetensors
from lib.convert.formats.weights.torch_check import check_checkpoint
from lib.convert.intake.recognise import recognise
from lib.errors import InvalidFile
from lib.onnx_model.open import Model, open_model, tensors
from lib.tflite.flatbuffer import check_tflite

MOST_FILES = 100
CONFIG, WEIGHTS = "config.json", "weights.safetensors"
Taken = tuple[str, list[str]]


def take_in(files: dict[str, Path], folder: Path, *, allow_pt2: bool = False) -> Taken:
    """The format's name and messages for the visitor; the artifact is in ``folder``, which was empty.

    ``files`` are the uploads by the names that the visitor gave, the main one first. A transformers config.json
    gives ``architecture`` as ``config.json`` and perhaps ``weights.safetensors``. Raises InvalidFile, with
    ``folder`` empty again.
    """
    try:
        _ordinary(files)
        (name, path), *others = _main_first(files).items()
        kind = recognise(path)
        beside = dict(others)
        if kind == "pt2" and not allow_pt2:
            raise InvalidFile(PT2_CLOSED)
        if beside and kind not in ("onnx", "config"):
            raise InvalidFile(f"{next(iter(beside))[:80]!r} was uploaded with {name[:80]!r}, which is whole: send one file.")
        return TAKERS[kind](name, path, beside, folder)
    except BaseException:
        _empty(folder)
        raise


def check_weights(path: Path) -> str:
    """``safetensors`` or ``checkpoint``, for a file of weights that goes with an architecture. Raises InvalidFile."""
    _ordinary({"weights": path})
    kind = recognise(path)
    if kind == "safetensors":
        check_safetensors(path)
    elif kind == "checkpoint":
        check_checkpoint(path)
    else:
        raise InvalidFile("These are no weights: safetensors or a PyTorch checkpoint (a state_dict) is needed.")
    return kind


def _ordinary(files: dict[str, Path]) -> None:
    if not files:
        raise InvalidFile("No file was uploaded.")
    if len(files) > MOST_FILES:
        raise InvalidFile(f"{len(files)} files were uploaded; at most {MOST_FILES} are taken together.")
    for name, path in files.items():
        odd = any(c in '/\\:*?"<>|' or ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in name)
        if odd or name in ("", ".", "..") or len(name.encode(errors="replace")) > 255:
            raise InvalidFile(f"A file is called {name[:80]!r}; a plain name is needed.")
        about = os.lstat(path)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
            raise InvalidFile(f"{name[:80]!r} is a link or no ordinary file; upload the file itself.")
    if len({name.casefold() for name in files}) < len(files):
        raise InvalidFile("Two files have the same name but for small and capital letters; rename one.")


def _main_first(files: dict[str, Path]) -> dict[str, Path]:
    """A visitor who sends several files need not know which one counts: names only choose the order."""
    if len(files) == 1:
        return files
    first = next(iter(files))
    for wanted in (lambda n: n.lower().endswith(".onnx"), lambda n: n.lower() == CONFIG):
        if not wanted(first) and (found := [n for n in files if wanted(n)]):
            return {found[0]: files[found[0]], **files}
    return files


def _empty(folder: Path) -> None:
    for one in folder.iterdir():
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)
        else:
            one.unlink()


def _onnx(name: str, path: Path, beside: dict[str, Path], folder: Path) -> Taken:
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


def _config(name: str, path: Path, beside: dict[str, Path], folder: Path) -> Taken:
    if len(beside) > 1:
        raise InvalidFile("With config.json, one file of weights is taken. Merge several into one file of safetensors.")
    transformers_config.take(path, folder / CONFIG)
    for weights in beside.values():
        if recognise(weights) != "safetensors":
            raise InvalidFile("The weights beside config.json must be safetensors; convert a checkpoint first, on its own.")
        check_safetensors(weights)
        shutil.copyfile(weights, folder / WEIGHTS)
    return "architecture", [] if beside else ["No weights were uploaded with config.json: they are random."]


def _safetensors(name: str, path: Path, beside: dict[str, Path], folder: Path) -> Taken:
    names = check_safetensors(path)
    format = "sd-single-file" if any(one.startswith(SINGLE_FILE) for one in names) else "safetensors"
    shutil.copyfile(path, main_file(format, folder))
    return format, []


def _pt2(name: str, path: Path, beside: dict[str, Path], folder: Path) -> Taken:
    messages = check_pt2(path)
    shutil.copyfile(path, main_file("pt2", folder))
    return "pt2", messages


def _checkpoint(name: str, path: Path, beside: dict[str, Path], folder: Path) -> Taken:
    check_checkpoint(path)
    shutil.copyfile(path, main_file("checkpoint", folder))
    return "checkpoint", []


def _tflite(name: str, path: Path, beside: dict[str, Path], folder: Path) -> Taken:
    check_tflite(path)
    shutil.copyfile(path, main_file("tflite", folder))
    return "tflite", []


def _keras(name: str, path: Path, beside: dict[str, Path], folder: Path) -> Taken:
    return "keras", keras_file.take(path, main_file("keras", folder))


def _saved_model(name: str, path: Path, beside: dict[str, Path], folder: Path) -> Taken:
    target = main_file("saved-model", folder)
    target.mkdir()
    return "saved-model", saved_model_zip.take(path, target)


def _diffusers(name: str, path: Path, beside: dict[str, Path], folder: Path) -> Taken:
    target = main_file("diffusers", folder)
    target.mkdir()
    return "diffusers", diffusers_zip.take(path, target)


TAKERS: dict[str, Callable[[str, Path, dict[str, Path], Path], Taken]] = {
    "onnx": _onnx,
    "config": _config,
    "safetensors": _safetensors,
    "checkpoint": _checkpoint,
    "pt2": _pt2,
    "keras": _keras,
    "saved-model": _saved_model,
    "tflite": _tflite,
    "diffusers": _diffusers,
}
