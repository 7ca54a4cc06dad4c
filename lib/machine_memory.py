"""The memory in MB that this app may use: the limit of the host or container, not the size of the machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|k|M|G)?")
# of this container: control groups version 2, then 1
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
APP_MB = 3 << 10  # kept for the app itself: torch, a picture model, Gradio's sessions


def granted_mb(setting: str = "", limits: tuple[Path, ...] = LIMITS) -> int:
    """The limit in ``setting`` (MEMORY of a Space, e.g. ``15Gi``) or of the control group, at most the machine's memory."""
    found = [_machine_bytes()]
    if (match := QUANTITY.fullmatch(setting)) is not None:
        found.append(int(float(match[1]) * UNITS[match[2] or ""]))
    for path in limits:
        try:
            found.append(int(path.read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return min(value for value in found if value > 0) >> 20


def share_mb(default: int, minimum: int, processes: int, granted: int) -> int:
    """MB for each of ``processes``: ``default``, or an equal share of what the app leaves, but at least ``minimum``."""
    return max(minimum, min(default, (granted - APP_MB) // processes))


def _machine_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
