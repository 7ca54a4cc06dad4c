"""Checks a ``.keras`` file and writes it again from its checked parts, without Keras.

The copy has exactly three members and no compile configuration (optimizer, losses, metrics): a conversion does not
need them, and they are where custom classes most often stand.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lib.archives import opened
from lib.convert.core import json_text
from lib.convert.formats.keras.allowed_classes import ACTIVATIONS, CLASSES, VALUES
from lib.convert.formats.keras.hdf5_check import check_hdf5
from lib.errors import InvalidFile

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MEMBERS = (METADATA, CONFIG, WEIGHTS)
_ALLOWED = "only the layers that Keras brings are loaded, and no Python code"
_WAYS = {
    "Lambda": "A Lambda layer is Python code in the file and is never run: replace it by layers or keras.ops.",
    "TFSMLayer": "It loads another model: bring that one.",
    "TorchModuleWrapper": "It holds a pickle of PyTorch objects: bring the PyTorch model itself.",
}
_NO_ASSETS = "Files for layers with vocabularies (TextVectorization, lookups) are not read: leave these layers out."


def is_keras(names: set[str], root: str) -> bool:
    return CONFIG in names and (WEIGHTS in names or METADATA in names)


def write_checked(path: Path, target: Path) -> list[str]:
    """Writes the checked copy to ``target``; messages. Raises InvalidFile."""
    with opened(path) as archive, TemporaryDirectory(dir=target.parent) as scratch:
        odd = sorted(set(archive.members) - set(MEMBERS))
        if odd:
            assets = f" {_NO_ASSETS}" if odd[0].startswith("assets/") else ""
            raise InvalidFile(f"The .keras file has a member {odd[0][:80]!r}; allowed: {', '.join(MEMBERS)}.{assets}")
        missing = [name for name in MEMBERS if name not in archive.members]
        if missing:
            raise InvalidFile(f"The .keras file has no {', '.join(missing)}. Save it again with model.save('model.keras').")
        config = json_text.parse(archive.read(CONFIG), "config.json of the .keras file")
        metadata = json_text.parse(archive.read(METADATA, 1 << 20), "metadata.json of the .keras file")
        version = str(metadata.get("keras_version", ""))
        if not re.fullmatch(r"3\.[0-9]{1,3}\.[0-9]{1,3}([-.]?\w{1,12})?", version):
            raise InvalidFile(
                f"The .keras file was written by Keras {version[:20]!r}; Keras 3 is read. Save it with Keras 3."
            )
        dropped = check_config(config)
        weights = Path(scratch) / "weights.h5"
        archive.write(WEIGHTS, weights)
        check_hdf5(weights)
        with zipfile.ZipFile(target, "x") as out:
            out.writestr(METADATA, json.dumps({"keras_version": version}))
            out.writestr(CONFIG, json.dumps(config))
            out.write(weights, WEIGHTS)
    return (
        ["The optimizer, losses and metrics saved with the model are left out: a conversion needs none."] if dropped else []
    )


def check_config(config: dict[str, Any]) -> bool:
    """Takes every compile configuration out; whether there was one. Raises InvalidFile for what is not allowed."""
    dropped = False
    todo: list[Any] = [config]
    if not isinstance(config.get("class_name"), str):
        raise InvalidFile("config.json of the .keras file does not say which class the model is. Save it again with Keras.")
    while todo:
        one = todo.pop()
        if isinstance(one, list):
            todo += one
        elif isinstance(one, dict):
            if one.pop("compile_config", None):
                dropped = True
            if "class_name" in one or "registered_name" in one or "module" in one:
                _check_object(one)
            _check_functions(one)
            todo += one.values()
    return dropped


def _check_object(one: dict[str, Any]) -> None:
    name, module, registered = one.get("class_name"), one.get("module"), one.get("registered_name")
    if isinstance(name, str) and name in VALUES and module is None and registered is None:
        return
    if name == "function" and module in ("builtins", "keras.activations"):
        # keras writes the activation's name for both
        called = str(one.get("config"))
        if called in ACTIVATIONS and registered in ("function", None, called):
            return
        name, module = called, "function"
    if isinstance(name, str) and isinstance(module, str) and name in CLASSES.get(module, ()) and registered in (None, name):
        return
    if isinstance(name, str) and module == "keras.activations" and name in ACTIVATIONS and registered is None:
        return
    advice = _WAYS.get(str(name), "")
    shown = f"{str(module)[:60]}.{str(name)[:60]}" if isinstance(module, str) else str(name)[:60]
    extra = f" (registered as {str(registered)[:60]!r})" if registered not in (None, name) else ""
    raise InvalidFile(f"The Keras model uses {shown!r}{extra}, which is not allowed: {_ALLOWED}. {advice}".strip())


def _check_functions(one: dict[str, Any]) -> None:
    """Names that Keras looks up by itself, and file names that it would open."""
    for key in ("activation", "recurrent_activation"):
        given = one.get(key)
        if isinstance(given, str) and given not in ACTIVATIONS:
            raise InvalidFile(
                f"The Keras model has the activation {given[:60]!r}; allowed: {', '.join(sorted(ACTIVATIONS))}."
            )
    for key in ("vocabulary", "filepath", "file_path", "function", "call_fn", "init_fn", "module_objects"):
        if isinstance(one.get(key), str):
            raise InvalidFile(f"The Keras model names a file or function ({key}: {one[key][:60]!r}), which is not opened.")
