"""Replicas that come and go while requests are under way: the rolling update, and more or fewer of them."""

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

UPDATE_SECONDS = 900.0  # for a new replica to load its model


class Changes:
    """Everything in the dispatcher's event loop."""

    def __init__(self, fleet: Fleet, dispatcher: Dispatcher, address: Address) -> None:
        self._fleet, self._dispatcher, self._address = fleet, dispatcher, address

    async def scale(self) -> None:
        least, most = self._address.least, self._address.most
        scaler = Scaler(least, most)
        while least < most:
            await asyncio.sleep(SCALE_SECONDS)
            replicas = self._fleet.replicas
            step = scaler.decide(len(replicas), self._dispatcher.demand(), time.monotonic())
            try:
                await self._resize(step, max(replicas, key=lambda one: one.number))
            except Exception:  # of Ray; the next decision may do better
                logging.getLogger(__name__).exception("a replica could not be added or taken away")

    async def _resize(self, step: int, last: Replica) -> None:
        if step > 0:
            await self._fleet.grow()
        elif step < 0:
            await self._emptied(last)
            await self._fleet.shrink(last)

    async def _emptied(self, replica: Replica) -> None:
        replica.leaving = True
        while self._dispatcher.flights.of(replica):
            await asyncio.sleep(0.05)

    async def update(self) -> None:
        for replica in list(self._fleet.replicas):
            await self._emptied(replica)
            await self._fleet.replace(replica)
            try:
                async with asyncio.timeout(UPDATE_SECONDS):
                    while not replica.ready:
                        await asyncio.sleep(0.05)
            except TimeoutError:
                log.event("update_failed", logging.WARNING, replica=replica.name)
                raise ModelUnavailable(f"The new {replica.name} does not come up; the others were left.") from None
