"""Replicas on Ray Serve, on one or several machines. Ray is imported when the replicas start.

Each replica is its own Serve application with one Serve replica, so the page decides which one gets a request
(``router.py``) with Serve's stable API. Serve places them on nodes, restarts those that die or freeze, and replaces
them. Nothing is served over HTTP: the page calls them by their handles.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from lib import log
from lib.replicas import messages
from lib.replicas.address import Address
from lib.replicas.ray_replica import RayReplica
from lib.replicas.replica import Listener, Replica
from lib.settings import Settings, prepare_library

ROOT = Path(__file__).resolve().parent.parent.parent
# Only an upper bound, since the page sends what fits. It must exceed that, including heartbeats, or rows stay empty.
MAX_ONGOING = 512
SHORT = 40  # characters of a folder's path: Ray's sockets add up to 60, and Linux allows 107
EXCLUDED = [".git", "tests", "benchmarks", "docs", ".ci", ".github"]  # not sent to other nodes


class RayFleet:
    """A fleet of ``min_replicas`` replicas, and up to ``max_replicas`` while the queue is long (``scaling.py``)."""

    def __init__(self, settings: Settings, address: Address) -> None:
        self._settings, self._address = settings, address
        self._own = [RayReplica(number) for number in range(address.min_replicas)]
        self.replicas: list[Replica] = list(self._own)
        self._tasks: dict[RayReplica, asyncio.Task[None]] = {}
        # Ray's calls block, so a single thread makes all of them; the processes that it starts end with it
        self._ray = ThreadPoolExecutor(1, thread_name_prefix="ray")
        self._folder = ""
        self._listener: Listener | None = None

    async def start(self, listener: Listener) -> None:
        self._listener = listener
        await self._in_ray_thread(self._connect)
        await self._in_ray_thread(self._deploy, self._own)
        for replica in self._own:
            self._start_task(replica)

    async def replace(self, replica: Replica) -> None:
        """Deploy the replica again: Serve stops the old one and starts a new one."""
        assert isinstance(replica, RayReplica)
        self._tasks.pop(replica).cancel()
        log.event("replica_replaced", replica=replica.name)
        await self._in_ray_thread(self._deploy, [replica])
        replica.reset()
        self._start_task(replica)

    async def grow(self) -> None:
        replica = RayReplica(max(r.number for r in self.replicas) + 1)
        await self._in_ray_thread(self._deploy, [replica])
        self._own.append(replica)
        self.replicas = list(self._own)
        self._start_task(replica)

    async def shrink(self, replica: Replica) -> None:
        """Remove ``replica``, which must have no requests."""
        assert isinstance(replica, RayReplica)
        self._own.remove(replica)
        self.replicas = list(self._own)
        self._tasks.pop(replica).cancel()
        await self._in_ray_thread(self._delete, replica)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for replica in self._tasks:
            replica.alive = False  # it is not polled any more
        with suppress(Exception):
            await self._in_ray_thread(self._disconnect)
        self._ray.shutdown()

    def _start_task(self, replica: RayReplica) -> None:
        assert self._listener is not None
        self._tasks[replica] = asyncio.create_task(replica.run(self._listener))

    async def _in_ray_thread(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._ray, act, *values)

    # -- in Ray's thread ----------------------------------------------------------------------------

    def _connect(self) -> None:
        # by default Ray's workers have niceness 15, so any training on the machine would take precedence
        prepare_library(RAY_USAGE_STATS_ENABLED="0", RAY_SERVE_LOG_TO_STDERR="0", RAY_worker_niceness="0")
        # by default Serve polls and reports ten times a second, which takes 0.13 of a core; with these values 0.08
        prepare_library(RAY_SERVE_CONTROL_LOOP_INTERVAL_S="0.5", RAY_SERVE_METRICS_EXPORT_INTERVAL_MS="10000")
        import ray
        from ray import serve

        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self._address.cluster == "local":
            base = tempfile.gettempdir()
            self._folder = tempfile.mkdtemp(prefix="mw-", dir=base if len(base) < SHORT else "/tmp")
            cores = max(os.cpu_count() or 1, self._address.max_replicas) + 1  # room for the new replica of a rolling update
            options |= {"num_cpus": cores, "include_dashboard": False, "_temp_dir": self._folder}
        else:
            options["address"] = self._address.cluster
            options["runtime_env"] = {"working_dir": str(ROOT), "excludes": EXCLUDED}
        ray.init(**options)
        serve.start(proxy_location="Disabled")
        self._devices = ray.cluster_resources().get("GPU", 0) > 0 and self._settings.device in ("auto", "cuda")

    def _deploy(self, replicas: list[RayReplica]) -> None:
        """Deploy replicas. Returns when Serve has accepted them; they load their models afterwards."""
        from ray import serve

        from lib.replicas.ray_worker import RayWorker

        deployment = serve.deployment(RayWorker).options(
            num_replicas=1,
            max_ongoing_requests=MAX_ONGOING,
            ray_actor_options={"num_cpus": 1} | ({"num_gpus": 1} if self._devices else {}),
            health_check_period_s=1,
            health_check_timeout_s=10,
            graceful_shutdown_timeout_s=30,
            graceful_shutdown_wait_loop_s=0.5,
        )
        settings, generation = json.dumps(messages.settings_out(self._settings)).encode(), uuid.uuid4().hex
        targets = [
            serve.RunTarget(deployment.options(name=r.application).bind(settings, generation), r.application, None)
            for r in replicas
        ]
        handles = serve.run_many(targets, wait_for_applications_running=False)
        for replica, handle in zip(replicas, handles, strict=True):
            replica.handle, replica.generation = handle, generation

    def _delete(self, replica: RayReplica) -> None:
        from ray import serve

        serve.delete(replica.application)

    def _disconnect(self) -> None:
        import ray
        from ray import serve

        if not ray.is_initialized():
            return
        if self._address.cluster == "local":
            serve.shutdown()
        else:  # the cluster may serve other applications
            for replica in self._own:
                serve.delete(replica.application)
        ray.shutdown()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
