"""Create the fleet for an address: child processes, or replicas on a Ray cluster."""

from __future__ import annotations

import importlib.util

from lib.errors import InvalidValue
from lib.replicas.address import Address
from lib.replicas.replica import Fleet
from lib.settings import Settings


def make_fleet(address: Address, settings: Settings) -> Fleet:
    """Create the fleet. Raises InvalidValue if Ray is required and not installed."""
    if not address.cluster:
        from lib.replicas.process_fleet import ProcessFleet

        return ProcessFleet(settings, address.min_replicas)
    if importlib.util.find_spec("ray") is None:
        allowed = "a whole number, as Ray is not installed here (pip install -r requirements-scale.txt)"
        raise InvalidValue("REPLICAS", settings.replicas, allowed)
    from lib.replicas.ray_serve import RayFleet

    return RayFleet(settings, address)
