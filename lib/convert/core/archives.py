"""Zips of models. They are read by ``lib/archives.py``, which all capabilities share."""

from __future__ import annotations

from lib.archives import Archive, is_litter


def root_of(archive: Archive) -> str:
    """The one folder that everything but litter is in, with its slash; "" where there is none."""
    names = [name for name in archive.members if not is_litter(name)]
    roots = {name.split("/", 1)[0] for name in names}
    return f"{roots.pop()}/" if len(roots) == 1 and all("/" in name for name in names) else ""
