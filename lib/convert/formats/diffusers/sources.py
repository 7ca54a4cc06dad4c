"""Built-in diffusers sources: the embedded ``diffusers:tiny-scenes`` pipeline and its single networks."""

from __future__ import annotations

import shutil
from pathlib import Path

from lib.convert.formats.diffusers.components import FOLDER, FOLDERS, INDEX
from lib.errors import InvalidValue
from lib.settings import EMBEDDED, EMBEDDED_FOLDER

PREFIX = "diffusers:"
PARTS = tuple(name for name, folder in FOLDERS.items() if (EMBEDDED_FOLDER / folder).is_dir())
SOURCES = (f"{PREFIX}{EMBEDDED}", *(f"{PREFIX}{EMBEDDED}/{part}" for part in PARTS))


def format_of(source: str) -> str:
    """Returns ``diffusers`` for a pipeline, ``diffusers-network`` for a single network; they have different targets."""
    return "diffusers-network" if "/" in source else "diffusers"


def prepare(source: str, folder: Path) -> list[str]:
    """Copies the pipeline, or one network of it, into ``folder/pipeline/``; returns messages for the user.

    Raises InvalidValue if ``source`` is not one of ``SOURCES``.
    """
    if source not in SOURCES:
        raise InvalidValue("source", source, ", ".join(SOURCES))
    part = source.removeprefix(f"{PREFIX}{EMBEDDED}").removeprefix("/")
    if not part:
        shutil.copytree(EMBEDDED_FOLDER, folder / FOLDER)
        return []
    name = FOLDERS[part]
    shutil.copytree(EMBEDDED_FOLDER / name, folder / FOLDER / name)
    return [f"Only the {part} of {EMBEDDED}; its {INDEX} and other networks are left out."]
