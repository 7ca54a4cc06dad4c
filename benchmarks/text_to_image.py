"""Compares the engine to simpler ways of serving the same pipeline on this machine.

    python benchmarks/text_to_image.py [--runs 3] [--max-rows N] [--beside N]

16 requests with 10 to 40 steps arrive all at once (burst) or one by one (Poisson):
(a) diffusers' pipeline, one request at a time; (b) static batches: all waiting requests go into one
pipeline call, with the largest number of steps among them; (c) one pipeline per core, in processes of
their own that share a queue; (d) the engine. (a) and (b) run with one thread and with all, and the
better one counts. Then a single request, alternating engine and pipeline. With ``--beside N`` a single
request alternately with and without N busy processes of two threads each. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

# before torch, as in web/environment.py
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch

from benchmarks.picture_servers import Job, Processes, Timing, by_engine, by_pipeline, call
from lib.settings import EMBEDDED, Settings
from lib.text_to_image.engine import Engine
from lib.text_to_image.models import Model
from lib.text_to_image.request import Request

ALONE = Request(prompt="a red car on a track", steps=20, seed=1)
System = Callable[[list[Job]], float]


def jobs(kind: str, count: int, seed: int, rate: float) -> list[Job]:
    r = random.Random(seed)
    at, created = 0.0, []
    for k in range(count):
        created.append(Job(replace(ALONE, steps=r.randint(10, 40), seed=k, scheduler="DPM++ 2M"), at))
        at += r.expovariate(rate) if kind == "poisson" else 0.0
    return created


def throughput(kind: str, systems: dict[str, System], args: argparse.Namespace) -> None:
    """Prints a table with a row for each system, the fastest of its variants (``(a) …, 1 thread``)."""
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    timings: dict[str, list[Timing]] = {name: [] for name in systems}
    for run in range(args.runs):
        for name, serve in systems.items():
            run_jobs = jobs(kind, args.count, run, args.rate)
            seconds[name].append(serve(run_jobs))
            timings[name] += [job.timing for job in run_jobs]
    rates = {name: args.count / statistics.median(seconds[name]) for name in systems}
    best: dict[str, str] = {}
    for name in sorted(rates, key=rates.__getitem__):
        best[name[:3]] = name
    rows = {
        name: [percentile([getattr(t, what) for t in timings[name]], p) for what in ("preview", "picture") for p in (50, 95)]
        for name in systems
        if name in best.values()
    }
    first = best["(a)"]
    print(f"**{kind}**, {args.count} requests, {args.runs} runs\n")
    print("| | pictures/s | × (a) | preview p50 s | p95 s | (a) p95 / | picture p50 s | p95 s |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (early, early95, done, done95) in rows.items():
        print(
            f"| {name} | {rates[name]:.2f} | {rates[name] / rates[first]:.2f} | {early:.2f} | {early95:.2f} "
            f"| {rows[first][1] / early95:.1f} | {done:.2f} | {done95:.2f} |"
        )
    slower = ", ".join(f"{name} {rates[name]:.2f}" for name in systems if name not in rows)
    print(f"\nPictures/s with another number of threads: {slower}\n" if slower else "")


def counted(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} s ({min(values):.3f} to {max(values):.3f})"


def alone(engine: Engine, model: Model, numbers: list[int], turns: int) -> None:
    ours: list[float] = []
    plain: dict[int, list[float]] = {threads: [] for threads in numbers}
    default = torch.get_num_threads()
    for _ in range(turns):
        ours.append(timed(lambda: engine.submit(ALONE).result()))
        for threads in numbers:
            torch.set_num_threads(threads)
            plain[threads].append(timed(lambda: call(model, [ALONE])))
    torch.set_num_threads(default)
    best = min(numbers, key=lambda threads: statistics.median(plain[threads]))
    ratio = statistics.median(a / b for a, b in zip(ours, plain[best], strict=True))
    descriptions = "; ".join(f"pipeline with {counted(threads)} {spread(plain[threads])}" for threads in numbers)
    print(f"One request alone, 20 steps, {turns} turns: engine {spread(ours)}; {descriptions}.")
    print(f"Engine / pipeline at its best ({counted(best)}), median of the turns: {ratio:.3f}\n")


def beside(engine: Engine, count: int, nice: int, turns: int) -> None:
    """Measures a request with and without busy processes, which are stopped (SIGSTOP) for the turns without."""
    command = [sys.executable, str(Path(__file__).parent / "busy.py"), str(nice), "2"]
    busy = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    try:
        for process in busy:
            assert process.stdout and process.stdout.readline() == "ready\n"
        seconds: dict[int, list[float]] = {signal.SIGSTOP: [], signal.SIGCONT: []}
        for _ in range(turns):
            for state, durations in seconds.items():
                for process in busy:
                    process.send_signal(state)
                time.sleep(0.5)
                durations.append(timed(lambda: engine.submit(ALONE).result()))
    finally:
        for process in busy:
            process.kill()
    without, amid = seconds.values()
    ratio = statistics.median(b / a for a, b in zip(without, amid, strict=True))
    print(f"| {nice} | {spread(without)} | {spread(amid)} | {ratio:.2f} |")


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return f"{len(os.sched_getaffinity(0))} cores ({name})"


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--count", type=int, default=16)
    ap.add_argument("--rate", type=float, default=2.0, help="arrivals a second, for Poisson")
    ap.add_argument("--max-rows", type=int, default=0)
    ap.add_argument("--model", default=EMBEDDED, help="as in MODELS")
    ap.add_argument("--beside", type=int, default=0, help="busy processes of two threads each")
    ap.add_argument("--only", choices=("throughput", "alone", "beside"), help="one part")
    args = ap.parse_args()

    settings = replace(Settings(), models=(args.model,), max_rows=args.max_rows)
    engine = Engine(settings)
    engine.start()
    while not engine.ready:
        time.sleep(0.1)
    model = engine._models.get(engine.catalogue.default)
    assert model is not None
    if model.compiled:
        model.compiled.thread.join()
    cores = len(os.sched_getaffinity(0))
    numbers = sorted({1, torch.get_num_threads()})
    print(f"{model.name} on {model.device}, {model.dtype}, torch {torch.__version__}, {machine()}")
    print(f"Load on {time.strftime('%Y-%m-%d %H:%M')}, when it began: {os.getloadavg()[0]:.1f}\n")

    systems: dict[str, System] = {}
    for label, together in (("(a) pipeline, queue of one", False), ("(b) pipeline, static batches", True)):
        for n in numbers:
            systems[f"{label}, {counted(n)}"] = lambda found, n=n, t=together: by_pipeline(
                model, found, threads=n, together=t
            )
    if args.only in (None, "throughput"):
        processes = Processes(model.name, settings, cores)
        systems[f"(c) {cores} pipelines in processes, 1 thread each"] = processes
        systems[f"(d) engine, 1 to {numbers[-1]} threads"] = lambda found: by_engine(engine, found)
        for serve in systems.values():  # warm-up
            serve(jobs("burst", 4, 0, args.rate))
        for kind in ("burst", "poisson"):
            throughput(kind, systems, args)
        processes.close()
    if args.only in (None, "alone"):
        alone(engine, model, numbers, 8 * args.runs)
    if args.beside and args.only in (None, "beside"):
        print(f"One request of 20 steps beside {args.beside} busy processes of two threads each, {8 * args.runs} turns:\n")
        print("| nice of the busy ones | without them | beside them | ratio |\n|---|---|---|---|")
        for nice in (0, 10):
            beside(engine, args.beside, nice, 8 * args.runs)
        print()
    print(f"Load when it ended: {os.getloadavg()[0]:.1f}")
    engine.close()


if __name__ == "__main__":
    main()
