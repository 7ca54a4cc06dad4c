"""How much memory this app may take in all, in MB: what the host grants, not what the machine has."""

from __future__ import annotations

import os
import re
from pathlib import Path

UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|k|M|G)?")
# of this container: control groups version 2, then 1
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
APP_MB = 3 << 10  # kept for the app itself: torch, a picture model, Gradio's sessions


def granted_mb(said: str = "", limits: tuple[Path, ...] = LIMITS) -> int:
    """``said`` is the variable MEMORY of a Space, such as ``15Gi``; else the control group's, else the machine's."""
    found = [_machine_bytes()]
    if (match := QUANTITY.fullmatch(said)) is not None:
        found.append(int(float(match[1]) * UNITS[match[2] or ""]))
    for path in limits:
        try:
            found.append(int(path.read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return min(value for value in found if value > 0) >> 20


def share_mb(usual: int, least: int, at_once: int, granted: int) -> int:
    """Of each of ``at_once`` processes: ``usual``, or an equal part of what the app leaves, never below ``least``."""
    return max(least, min(usual, (granted - APP_MB) // at_once))


def _machine_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
