"""Families of models whose requests can share a batch. Each module defines a subclass of ``base.Family``.

The modules of this package are discovered, so adding a file adds a family. A pipeline class without a family also works,
but only one request at a time (``solo.py``).
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from lib.text_to_image.families.base import Conditioning, Family

__all__ = ["FAMILIES", "Conditioning", "Family", "discover"]


def discover() -> dict[str, type[Family]]:
    """Return the families by name of their diffusers pipeline class. Raises ValueError if two claim the same class."""
    families: dict[str, type[Family]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        for kind in vars(module).values():
            if not isinstance(kind, type) or not issubclass(kind, Family) or kind.__module__ != module.__name__:
                continue
            for pipeline in vars(kind).get("pipelines", ()):
                if pipeline in families:
                    raise ValueError(f"two families claim {pipeline}")
                families[pipeline] = kind
    return families


FAMILIES = discover()
