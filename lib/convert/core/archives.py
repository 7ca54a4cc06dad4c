"""Helpers for zips of models, which ``lib/archives.py`` reads."""

from __future__ import annotations

from lib.archives import Archive, is_litter


def root_of(archive: Archive) -> str:
    """Return the single top-level folder of all files, ignoring litter, with a trailing slash; "" if there is none."""
    names = [name for name in archive.members if not is_litter(name)]
    roots = {name.split("/", 1)[0] for name in names}
    return f"{roots.pop()}/" if len(roots) == 1 and all("/" in name for name in names) else ""
