"""Change the fleet while requests run: rolling updates, and autoscaling within the range of REPLICAS."""

from __future__ import annotations

import asyncio
import logging
import time

from lib import log
from lib.errors import ModelUnavailable
from lib.replicas.address import Address
from lib.replicas.dispatcher import Dispatcher
from lib.replicas.replica import Fleet, Replica
from lib.replicas.scaling import SCALE_SECONDS, Scaler

UPDATE_SECONDS = 900.0  # timeout for a new replica to load its model


class FleetManager:
    """Runs in the dispatcher's event loop only."""

    def __init__(self, fleet: Fleet, dispatcher: Dispatcher, address: Address) -> None:
        self._fleet, self._dispatcher, self._address = fleet, dispatcher, address

    async def scale(self) -> None:
        """Add and remove replicas until cancelled. Returns at once if their number is fixed."""
        min_replicas, max_replicas = self._address.min_replicas, self._address.max_replicas
        scaler = Scaler(min_replicas, max_replicas)
        while min_replicas < max_replicas:
            await asyncio.sleep(SCALE_SECONDS)
            replicas = self._fleet.replicas
            step = scaler.decide(len(replicas), self._dispatcher.demand(), time.monotonic())
            try:
                await self._resize(step, max(replicas, key=lambda one: one.number))
            except Exception:  # of Ray; the next decision tries again
                logging.getLogger(__name__).exception("a replica could not be added or taken away")

    async def _resize(self, step: int, last: Replica) -> None:
        if step > 0:
            await self._fleet.grow()
        elif step < 0:
            await self._drain(last)
            await self._fleet.shrink(last)

    async def _drain(self, replica: Replica) -> None:
        """Send the replica no more requests, and wait until the running ones have ended."""
        replica.draining = True
        while self._dispatcher.flights.of(replica):
            await asyncio.sleep(0.05)

    async def update(self) -> None:
        """Replace the replicas one by one. Raises ModelUnavailable if a new one is not ready in time."""
        for replica in list(self._fleet.replicas):
            await self._drain(replica)
            await self._fleet.replace(replica)
            try:
                async with asyncio.timeout(UPDATE_SECONDS):
                    while not replica.ready:
                        await asyncio.sleep(0.05)
            except TimeoutError:
                log.event("update_failed", logging.WARNING, replica=replica.name)
                raise ModelUnavailable(f"The new {replica.name} did not start; the others were not replaced.") from None
