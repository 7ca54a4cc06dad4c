"""Checks a ``.keras`` file and rewrites it from its checked parts, without Keras.

The copy has exactly three members and no compile configuration (optimizer, losses, metrics): conversion does not need
it, and custom classes occur there most often.
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
_ALLOWED = "only Keras' built-in layers are loaded, and no Python code"
_WAYS = {
    "Lambda": "A Lambda layer is Python code in the file and is never run: replace it with layers or keras.ops.",
    "TFSMLayer": "It loads another model: upload that one.",
    "TorchModuleWrapper": "It holds a pickle of PyTorch objects: upload the PyTorch model itself.",
}
_NO_ASSETS = "Vocabulary files (TextVectorization, lookups) are not read: leave these layers out."


def is_keras(names: set[str], root: str) -> bool:
    """Returns whether a zip with these members is a ``.keras`` file."""
    return CONFIG in names and (WEIGHTS in names or METADATA in names)


def write_checked(path: Path, target: Path) -> list[str]:
    """Writes the checked copy to ``target`` and returns messages. Raises InvalidFile."""
    with opened(path) as archive, TemporaryDirectory(dir=target.parent) as scratch:
        unexpected = sorted(set(archive.members) - set(MEMBERS))
        if unexpected:
            assets = f" {_NO_ASSETS}" if unexpected[0].startswith("assets/") else ""
            raise InvalidFile(f"The .keras file contains {unexpected[0][:80]!r}; allowed: {', '.join(MEMBERS)}.{assets}")
        missing = [name for name in MEMBERS if name not in archive.members]
        if missing:
            raise InvalidFile(f"The .keras file has no {', '.join(missing)}. Save it again with model.save('model.keras').")
        config = json_text.parse(archive.read(CONFIG), "config.json of the .keras file")
        metadata = json_text.parse(archive.read(METADATA, 1 << 20), "metadata.json of the .keras file")
        version = str(metadata.get("keras_version", ""))
        if not re.fullmatch(r"3\.[0-9]{1,3}\.[0-9]{1,3}([-.]?\w{1,12})?", version):
            raise InvalidFile(
                f"The .keras file was written by Keras {version[:20]!r}; only Keras 3 is supported. Save it with Keras 3."
            )
        dropped = check_config(config)
        weights = Path(scratch) / "weights.h5"
        archive.write(WEIGHTS, weights)
        check_hdf5(weights)
        with zipfile.ZipFile(target, "x") as archive_out:
            archive_out.writestr(METADATA, json.dumps({"keras_version": version}))
            archive_out.writestr(CONFIG, json.dumps(config))
            archive_out.write(weights, WEIGHTS)
    return (
        ["The optimizer, losses and metrics saved with the model are left out: a conversion does not need them."]
        if dropped
        else []
    )


def check_config(config: dict[str, Any]) -> bool:
    """Removes every compile configuration from ``config`` in place and checks all objects in it.

    Returns whether one was removed. Raises InvalidFile for classes, functions or file names that are not allowed.
    """
    dropped = False
    pending: list[Any] = [config]
    if not isinstance(config.get("class_name"), str):
        raise InvalidFile("config.json of the .keras file does not name the model's class. Save it again with Keras.")
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += node
        elif isinstance(node, dict):
            if node.pop("compile_config", None):
                dropped = True
            if "class_name" in node or "registered_name" in node or "module" in node:
                _check_object(node)
            _check_functions(node)
            pending += node.values()
    return dropped


def _check_object(one: dict[str, Any]) -> None:
    """Raises InvalidFile unless the serialized object is of an allowed class or is an allowed activation."""
    name, module, registered = one.get("class_name"), one.get("module"), one.get("registered_name")
    if isinstance(name, str) and name in VALUES and module is None and registered is None:
        return
    if name == "function" and module in ("builtins", "keras.activations"):
        # Keras may write the activation's name as the registered name too
        function_name = str(one.get("config"))
        if function_name in ACTIVATIONS and registered in ("function", None, function_name):
            return
        name, module = function_name, "function"
    if isinstance(name, str) and isinstance(module, str) and name in CLASSES.get(module, ()) and registered in (None, name):
        return
    if isinstance(name, str) and module == "keras.activations" and name in ACTIVATIONS and registered is None:
        return
    advice = _WAYS.get(str(name), "")
    shown = f"{str(module)[:60]}.{str(name)[:60]}" if isinstance(module, str) else str(name)[:60]
    registration = f" (registered as {str(registered)[:60]!r})" if registered not in (None, name) else ""
    raise InvalidFile(f"The Keras model uses {shown!r}{registration}, which is not allowed: {_ALLOWED}. {advice}".strip())


def _check_functions(one: dict[str, Any]) -> None:
    """Raises InvalidFile for activations Keras would look up by name, unless allowed, and for file or function names."""
    for key in ("activation", "recurrent_activation"):
        activation = one.get(key)
        if isinstance(activation, str) and activation not in ACTIVATIONS:
            raise InvalidFile(
                f"The Keras model has the activation {activation[:60]!r}; allowed: {', '.join(sorted(ACTIVATIONS))}."
            )
    for key in ("vocabulary", "filepath", "file_path", "function", "call_fn", "init_fn", "module_objects"):
        if isinstance(one.get(key), str):
            raise InvalidFile(
                f"The Keras model refers to a file or function ({key}: {one[key][:60]!r}), which is not opened."
            )
