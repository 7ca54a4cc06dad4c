"""Files that an attacker or an accident would upload to the converter, each made here: a table of what is expected.

Every row is refused with InvalidFile and ``words`` in its message. ``VALID`` (module ``valid``) has a small sound file
of each kind, so that acceptance is tested as well. A new hostile file is a function or a row in one of the modules.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

CANARY = Path(tempfile.gettempdir()) / "workbench-canary-of-the-tests"
Made = bytes | dict[str, bytes]


class Touch:
    """Unpickled, it touches a file: what any program could do."""

    def __reduce__(self) -> tuple:
        return Path.touch, (CANARY,)


@dataclass(frozen=True)
class Hostile:
    """``pt2``: with uploads of exported programs switched on. ``name`` of a file matters to nobody but the reader."""

    name: str
    words: str
    make: Callable[[], Made]
    pt2: bool = False

    def files(self) -> dict[str, bytes]:
        made = self.make()
        return made if isinstance(made, dict) else {"upload": made}


TABLE: dict[str, Hostile] = {}


def hostile(words: str, name: str = "", *, pt2: bool = False) -> Callable[[Callable[[], Made]], Callable[[], Made]]:
    """Registers the function that makes the files."""

    def register(make: Callable[[], Made]) -> Callable[[], Made]:
        key = name or make.__name__.replace("_", " ").strip()
        assert key not in TABLE, key
        TABLE[key] = Hostile(key, words, make, pt2)
        return make

    return register


for module in ("no_model", "zips", "torch_pickles", "exported", "keras_files", "flat", "headers", "graphs", "folders"):
    import_module(f"{__name__}.{module}")
