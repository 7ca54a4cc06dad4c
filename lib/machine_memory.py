"""The memory in MB available to the app: limited by the host or container, not just by the machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|k|M|G)?")
# of this container: cgroup v2, then v1
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
APP_MB = 3 << 10  # reserved for the app itself: torch, an image model, Gradio sessions


def granted_mb(setting: str = "", limits: tuple[Path, ...] = LIMITS) -> int:
    """Returns the lowest limit of ``setting`` (MEMORY of a Space, e.g. ``15Gi``), the control group and the machine."""
    candidates = [_machine_bytes()]
    if (match := QUANTITY.fullmatch(setting)) is not None:
        candidates.append(int(float(match[1]) * UNITS[match[2] or ""]))
    for path in limits:
        try:
            candidates.append(int(path.read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return min(value for value in candidates if value > 0) >> 20


def share_mb(default: int, minimum: int, processes: int, granted: int) -> int:
    """Returns the MB per process: ``default``, or an equal share of what the app leaves, at least ``minimum``."""
    return max(minimum, min(default, (granted - APP_MB) // processes))


def _machine_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
