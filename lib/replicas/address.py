"""REPLICAS taken apart: how many replicas, and where."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from lib.errors import InvalidValue
from lib.replicas.replica import Fleet
from lib.settings import Settings


@dataclass(frozen=True, slots=True)
class Address:
    """``least`` to ``most`` replicas; ``cluster`` is "" for child processes, else ``local``, ``auto`` or ``host:port``."""

    cluster: str
    least: int
    most: int

    def fleet(self, settings: Settings) -> Fleet:
        """Raises InvalidValue where Ray is asked for and not installed."""
        if not self.cluster:
            from lib.replicas.children import Children

            return Children(settings, self.least)
        if importlib.util.find_spec("ray") is None:
            here = "a whole number, as Ray is not installed here (pip install -r requirements-scale.txt)"
            raise InvalidValue("REPLICAS", settings.replicas, here)
        from lib.replicas.ray_serve import RayFleet

        return RayFleet(settings, self)


def parse(text: str) -> Address:
    """``text`` has passed ``lib.settings``."""
    if text.isdigit():
        return Address("", int(text), int(text))
    cluster, _, counts = text.removeprefix("ray://").partition("?replicas=")
    least, _, most = (counts or "1").partition("-")
    return Address(cluster, int(least), int(most or least))
