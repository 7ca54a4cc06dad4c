"""Four ways of serving picture requests with a common interface: they take jobs and return the total seconds.

Each sets ``job.timing``. ``benchmarks/text_to_image.py`` compares them.
"""

from __future__ import annotations

import multiprocessing
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from lib.settings import Settings
from lib.text_to_image.engine import Engine
from lib.text_to_image.events import Step
from lib.text_to_image.model_loading import load
from lib.text_to_image.models import Catalogue, Model
from lib.text_to_image.request import Request
from lib.text_to_image.schedulers import make_scheduler
from lib.text_to_image.ticket import Ticket


@dataclass
class Timing:
    """Seconds from the arrival of the request to the first preview and to the picture."""

    preview: float = float("nan")
    picture: float = float("nan")


@dataclass
class Job:
    request: Request
    arrival: float
    timing: Timing = field(default_factory=Timing)


def arrive(jobs: list[Job], take: Callable[[Job], None], began: float) -> None:
    """Calls ``take(job)`` at the arrival time of each job."""
    for job in jobs:
        time.sleep(max(0.0, began + job.arrival - time.monotonic()))
        take(job)


@torch.inference_mode()
def call(model: Model, requests: list[Request], first: Callable[[], None] = lambda: None) -> None:
    """Calls the diffusers pipeline with all requests as one batch. ``first`` is called after the first step."""

    def on_step(pipeline: Any, step: int, timestep: Any, tensors: dict) -> dict:
        if step == 0:
            first()
        return tensors

    trained = model.pipeline.scheduler
    model.pipeline.scheduler = make_scheduler(requests[0].scheduler, trained)
    try:
        model.pipeline(
            [r.prompt for r in requests],
            num_inference_steps=max(r.steps for r in requests),
            guidance_scale=requests[0].guidance_scale,
            callback_on_step_end=on_step,
            generator=[torch.Generator().manual_seed(r.seed) for r in requests],
        )
    finally:
        model.pipeline.scheduler = trained


def by_pipeline(model: Model, jobs: list[Job], *, threads: int, together: bool) -> float:
    """Serves with one worker thread. ``together``: all waiting requests are batched into one call."""
    waiting: queue.Queue[Job | None] = queue.Queue()
    began = time.monotonic()

    def stamp(group: list[Job], what: str) -> None:
        for job in group:
            setattr(job.timing, what, time.monotonic() - began - job.arrival)

    def work() -> None:
        torch.set_num_threads(threads)
        over = False
        while not over:
            batch = [waiting.get()]
            while together and batch[-1] is not None and not waiting.empty():
                batch.append(waiting.get())
            over = batch[-1] is None
            if group := [j for j in batch if j is not None]:
                call(model, [j.request for j in group], lambda group=group: stamp(group, "preview"))
                stamp(group, "picture")

    worker = threading.Thread(target=work)
    worker.start()
    arrive(jobs, waiting.put, began)
    waiting.put(None)
    worker.join()
    return time.monotonic() - began


class Processes:
    """One pipeline per core, each in a process of its own with one thread. They share a queue."""

    def __init__(self, name: str, settings: Settings, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.line, self.news = context.Queue(), context.Queue()
        self.workers = [
            context.Process(target=_serve, args=(name, settings, self.line, self.news), daemon=True) for _ in range(count)
        ]
        for worker in self.workers:
            worker.start()
        for _ in self.workers:
            self.news.get()

    def __call__(self, jobs: list[Job]) -> float:
        began = time.monotonic()
        sender = threading.Thread(
            target=arrive, args=(jobs, lambda job: self.line.put((jobs.index(job), job.request)), began)
        )
        sender.start()
        for _ in range(2 * len(jobs)):
            k, what, at = self.news.get()  # the monotonic clock is shared by all processes
            setattr(jobs[k].timing, what, at - began - jobs[k].arrival)
        sender.join()
        return time.monotonic() - began

    def close(self) -> None:
        for _ in self.workers:
            self.line.put(None)
        for worker in self.workers:
            worker.join()


def _serve(name: str, settings: Settings, line: Any, news: Any) -> None:
    torch.set_num_threads(1)
    model = load(Catalogue(settings).choose(name), settings)
    call(model, [Request(prompt="a", steps=2, seed=1)])
    news.put("ready")
    while (job := line.get()) is not None:
        k, request = job
        call(model, [request], lambda k=k: news.put((k, "preview", time.monotonic())))
        news.put((k, "picture", time.monotonic()))


def by_engine(engine: Engine, jobs: list[Job]) -> float:
    threads = []
    began = time.monotonic()

    def listen(job: Job, ticket: Ticket) -> None:
        for event in ticket.events():
            now = time.monotonic() - began - job.arrival
            if isinstance(event, Step) and job.timing.preview != job.timing.preview:
                job.timing.preview = now
            job.timing.picture = now

    def take(job: Job) -> None:
        threads.append(threading.Thread(target=listen, args=(job, engine.submit(job.request))))
        threads[-1].start()

    arrive(jobs, take, began)
    for thread in threads:
        thread.join()
    return time.monotonic() - began
