"""The engine against the plain ways of serving the same pipeline, in one run, on this machine.

    python benchmarks/text_to_image.py [--runs 3] [--max-rows N]

16 requests with 10 to 40 steps, arriving all at once (burst) or one by one (Poisson):
(a) diffusers' pipeline behind a queue of one; (b) static batches: whatever waits goes into one
pipeline call, at the largest number of steps among them; (c) the engine. Then one request alone,
engine and pipeline in turns. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import queue
import random
import statistics
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

from lib.settings import EMBEDDED, Settings
from lib.text_to_image.engine import Engine
from lib.text_to_image.events import Step
from lib.text_to_image.models import Model
from lib.text_to_image.request import Request
from lib.text_to_image.schedulers import make_scheduler


@dataclass
class Timing:
    """Seconds from the request's arrival."""

    preview: float = float("nan")
    picture: float = float("nan")


@dataclass
class Job:
    request: Request
    arrival: float
    timing: Timing = field(default_factory=Timing)


def jobs(kind: str, count: int, seed: int, rate: float) -> list[Job]:
    r = random.Random(seed)
    at, found = 0.0, []
    for k in range(count):
        request = Request(
            prompt="a red car on a track", steps=r.randint(10, 40), seed=k, scheduler="DPM++ 2M", width=128, height=128
        )
        found.append(Job(request, at))
        at += r.expovariate(rate) if kind == "poisson" else 0.0
    return found


def arrive(found: list[Job], take: Any) -> float:
    """Calls ``take(job, began)`` at each arrival; returns the start."""
    began = time.monotonic()
    for job in found:
        time.sleep(max(0.0, began + job.arrival - time.monotonic()))
        take(job, began)
    return began


def by_pipeline(model: Model, found: list[Job], together: bool) -> float:
    """(a) and (b): one worker in front of the pipeline. Returns the seconds until the last picture."""
    line: queue.Queue[Job | None] = queue.Queue()

    def work() -> None:
        over = False
        while not over:
            group = [line.get()]
            while together and group[-1] is not None and not line.empty():
                group.append(line.get())
            over = group[-1] is None
            group = [j for j in group if j is not None]
            if group:
                call(model, group, began)

    worker = threading.Thread(target=work)
    began = time.monotonic()
    worker.start()
    arrive(found, lambda job, _: line.put(job))
    line.put(None)
    worker.join()
    return time.monotonic() - began


@torch.inference_mode()
def call(model: Model, group: list[Job], began: float) -> None:
    def on_step(pipeline: Any, step: int, timestep: Any, tensors: dict) -> dict:
        if step == 0:
            for job in group:
                job.timing.preview = time.monotonic() - began - job.arrival
        return tensors

    trained = model.pipeline.scheduler
    model.pipeline.scheduler = make_scheduler("DPM++ 2M", trained)
    try:
        model.pipeline(
            [j.request.prompt for j in group],
            num_inference_steps=max(j.request.steps for j in group),
            guidance_scale=group[0].request.guidance_scale,
            callback_on_step_end=on_step,
            generator=[torch.Generator().manual_seed(j.request.seed) for j in group],
        )
    finally:
        model.pipeline.scheduler = trained
    for job in group:
        job.timing.picture = time.monotonic() - began - job.arrival


def by_engine(engine: Engine, found: list[Job]) -> float:
    threads = []

    def take(job: Job, began: float) -> None:
        ticket = engine.submit(job.request)

        def listen() -> None:
            for event in ticket.events():
                now = time.monotonic() - began - job.arrival
                if isinstance(event, Step) and job.timing.preview != job.timing.preview:
                    job.timing.preview = now
                job.timing.picture = now

        threads.append(threading.Thread(target=listen))
        threads[-1].start()

    began = arrive(found, take)
    for thread in threads:
        thread.join()
    return time.monotonic() - began


def percentile(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--count", type=int, default=16)
    ap.add_argument("--rate", type=float, default=2.0, help="arrivals a second, for Poisson")
    ap.add_argument("--max-rows", type=int, default=0)
    ap.add_argument("--model", default=EMBEDDED, help="as in MODELS")
    args = ap.parse_args()

    engine = Engine(replace(Settings(), models=(args.model,), max_rows=args.max_rows))
    engine.start()
    while not engine.ready:
        time.sleep(0.1)
    model = engine._shelf.get(engine.catalogue.default)
    assert model is not None
    print(f"{model.name} on {model.device}, {model.dtype}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    by_engine(engine, jobs("burst", 4, 0, args.rate))  # warm both up
    by_pipeline(model, jobs("burst", 2, 0, args.rate), together=False)

    systems = {
        "(a) pipeline, queue of one": lambda found: by_pipeline(model, found, together=False),
        "(b) pipeline, static batches": lambda found: by_pipeline(model, found, together=True),
        "(c) engine": lambda found: by_engine(engine, found),
    }
    for kind in ("burst", "poisson"):
        seconds: dict[str, list[float]] = {name: [] for name in systems}
        timings: dict[str, list[Timing]] = {name: [] for name in systems}
        for run in range(args.runs):
            for name, serve in systems.items():
                found = jobs(kind, args.count, run, args.rate)
                seconds[name].append(serve(found))
                timings[name] += [job.timing for job in found]
        print(f"**{kind}**, {args.count} requests, {args.runs} runs\n")
        print("| | pictures/s | × (a) | preview p50 s | p95 s | (a) p95 / | picture p50 s | p95 s |")
        print("|---|---|---|---|---|---|---|---|")
        base = None
        for name in systems:
            rate = args.count / statistics.median(seconds[name])
            previews, pictures = ([getattr(t, n) for t in timings[name]] for n in ("preview", "picture"))
            row = (
                rate,
                percentile(previews, 0.5),
                percentile(previews, 0.95),
                percentile(pictures, 0.5),
                percentile(pictures, 0.95),
            )
            base = base or row
            print(
                f"| {name} | {row[0]:.2f} | {row[0] / base[0]:.2f} | {row[1]:.2f} | {row[2]:.2f} | {base[2] / row[2]:.1f} "
                f"| {row[3]:.2f} | {row[4]:.2f} |"
            )
        print()

    request = Request(prompt="a red car on a track", steps=20, seed=1)
    ours, plain = [], []
    for _ in range(8 * args.runs):
        began = time.perf_counter()
        engine.submit(request).result()
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        call(model, [Job(request, 0.0)], time.monotonic())
        plain.append(time.perf_counter() - began)
    a, b = statistics.median(ours), statistics.median(plain)
    print(f"One request alone, 20 steps: engine {a:.3f} s, pipeline {b:.3f} s, ratio {a / b:.3f}")
    engine.close()


if __name__ == "__main__":
    main()
