"""Parse REPLICAS: the number of replicas and where they run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed REPLICAS. ``cluster``: "" for child processes, else ``local``, ``auto`` or ``host:port``."""

    cluster: str
    min_replicas: int
    max_replicas: int


def parse(text: str) -> Address:
    """Parse REPLICAS, which ``lib.settings`` has validated."""
    if text.isdigit():
        return Address("", int(text), int(text))
    cluster, _, counts = text.removeprefix("ray://").partition("?replicas=")
    min_replicas, _, max_replicas = (counts or "1").partition("-")
    return Address(cluster, int(min_replicas), int(max_replicas or min_replicas))
