"""Loads the training frameworks lazily, because importing each takes seconds."""

from __future__ import annotations

import importlib
from typing import cast

from lib.errors import InvalidValue
from lib.train.training import Framework

MODULES = {"pytorch": "lib.train.torch_training", "keras": "lib.train.keras_training"}


def framework(name: str) -> Framework:
    """Import and return the framework's module. Raises InvalidValue for an unknown name."""
    if name not in MODULES:
        raise InvalidValue("framework", name, ", ".join(MODULES))
    return cast(Framework, importlib.import_module(MODULES[name]))
