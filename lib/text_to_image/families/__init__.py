"""The families of models that share a batch: one module a family, with a subclass of ``base.Family``.

The modules of this package are listed, so a family is there as soon as its file is. A pipeline class that none of
them names still works, one request at a time (``solo.py``).
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from lib.text_to_image.families.base import Conditioning, Family

__all__ = ["FAMILIES", "Conditioning", "Family", "discover"]


def discover() -> dict[str, type[Family]]:
    """Families by diffusers' class of pipeline. Raises ValueError where two claim one."""
    found: dict[str, type[Family]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        for kind in vars(module).values():
            if not isinstance(kind, type) or not issubclass(kind, Family) or kind.__module__ != module.__name__:
                continue
            for pipeline in vars(kind).get("pipelines", ()):
                if pipeline in found:
                    raise ValueError(f"two families claim {pipeline}")
                found[pipeline] = kind
    return found


FAMILIES = discover()
