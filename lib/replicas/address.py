"""REPLICAS taken apart: how many replicas, and where."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    """``least`` to ``most`` replicas; ``cluster`` is "" for child processes, else ``local``, ``auto`` or ``host:port``."""

    cluster: str
    least: int
    most: int


def parse(text: str) -> Address:
    """``text`` has passed ``lib.settings``."""
    if text.isdigit():
        return Address("", int(text), int(text))
    cluster, _, counts = text.removeprefix("ray://").partition("?replicas=")
    least, _, most = (counts or "1").partition("-")
    return Address(cluster, int(least), int(most or least))
