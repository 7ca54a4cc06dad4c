"""Measures pictures per second with a queue that never runs empty, also as a share of the device's matmul rate.

    python benchmarks/saturation.py [--seconds 60] [--runs 1] [--model sd2.1] [--compile]

Requests have 10 to 40 steps (DPM++ 2M) and previews, as from visitors. Alternately: (a) diffusers' pipeline, one request
after another, on a CPU with one thread and with all (the better one counts); (c) on a CPU, one such pipeline per core in
processes of their own; (d) the engine with ``--clients`` outstanding requests. Counts the steps of pictures that end
within the time window. ``sd2.1`` has the architecture of Stable Diffusion 2.1 (512 x 512) with random weights, built
here without a download. With ``--compile``, (a) and (d) run again with the UNet's transformer blocks compiled by
torch.compile. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

# before torch, as in web/environment.py
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.picture_servers import Processes, call
from benchmarks.random_model import save_sd21
from benchmarks.text_to_image import counted
from benchmarks.where import Where
from lib.settings import EMBEDDED, Settings
from lib.text_to_image.engine import Engine
from lib.text_to_image.models import Model
from lib.text_to_image.request import Request

WARM_SECONDS = 8.0
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
OBJECTS = (
    "car",
    "house",
    "boat",
    "rocket",
    "balloon",
    "fish",
    "cat",
    "flower",
    "mushroom",
    "umbrella",
    "butterfly",
    "robot",
)


def endless() -> Iterator[Request]:
    """Yields the same requests for every system, with 25 steps on average."""
    r = random.Random(0)
    while True:
        steps = r.randint(10, 40)
        prompt = f"a {r.choice(COLOURS)} {r.choice(OBJECTS)} in a meadow"
        yield Request(prompt=prompt, steps=steps, seed=r.randrange(2**31), scheduler="DPM++ 2M")


def by_pipeline(model: Model, threads: int, seconds: float) -> float:
    """Returns the steps per second of finished pictures."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    done, began = 0, time.monotonic()
    for request in endless():
        call(model, [request])
        done += request.steps
        if time.monotonic() - began > seconds:
            break
    torch.set_num_threads(before)
    return done / (time.monotonic() - began)


def by_processes(processes: Processes, seconds: float) -> float:
    steps: list[int] = []
    requests = endless()

    def put() -> None:
        steps.append((request := next(requests)).steps)
        processes.line.put((len(steps) - 1, request))

    for _ in range(2 * len(processes.workers)):
        put()
    begun, done, waiting = time.monotonic(), 0, 2 * len(processes.workers)
    while waiting:
        k, what, at = processes.news.get()
        if what != "picture":
            continue
        if at - begun <= seconds:
            done += steps[k]
            put()
        else:
            waiting -= 1
    return done / seconds


def by_engine(engine: Engine, clients: int, seconds: float, where: Where | None = None) -> float:
    source, lock, over = endless(), threading.Lock(), threading.Event()
    ends: list[tuple[float, int]] = []

    def client() -> None:
        while not over.is_set():
            with lock:
                request = next(source)
            engine.submit(request, owner=str(threading.get_ident())).result()
            ends.append((time.monotonic(), request.steps))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(WARM_SECONDS)
    began = time.monotonic()
    if where:
        where.begin()
    time.sleep(seconds)
    if where:
        where.end()
    ended = time.monotonic()
    over.set()
    for thread in threads:
        thread.join()
    return sum(steps for at, steps in ends if began < at <= ended) / (ended - began)


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Returns the FLOP/s of a large square matrix product, the best of several runs."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))

    def once() -> float:
        began = time.perf_counter()
        for _ in range(10 if device.type == "cuda" else 1):
            a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - began) / (10 if device.type == "cuda" else 1)

    once()
    return 2 * n**3 / min(once() for _ in range(10))


@torch.inference_mode()
def flops(model: Model) -> tuple[float, float]:
    """Returns the FLOPs of one step of a guided request, and of decoding its picture."""
    assert model.family is not None
    side, channels = model.size // 8, model.family.channels
    conditions = [model.family.encode(model.resolve(next(endless())))[0]] * 2
    noisy = torch.randn(2, channels, side, side, device=model.device)
    with FlopCounterMode(display=False) as step:
        model.family.predict(noisy, torch.tensor([500.0, 500.0]), conditions)
    with FlopCounterMode(display=False) as picture:
        model.decode(noisy[:1])
    return step.get_total_flops(), picture.get_total_flops()


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--seconds", type=float, default=60)
    ap.add_argument("--runs", type=int, default=1)
    ap.add_argument("--clients", type=int, default=40, help="requests outstanding")
    ap.add_argument("--max-rows", type=int, default=0)
    ap.add_argument("--model", default=EMBEDDED, help="as in MODELS, or sd2.1")
    ap.add_argument("--compile", action="store_true")
    ap.add_argument("--only", help="letters of the systems to run, e.g. ad")
    args = ap.parse_args()

    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as scratch:
        name = args.model
        if name == "sd2.1":
            save_sd21(Path(scratch))
            name = f"sd2.1={scratch}"
        settings = replace(Settings(), models=(name,), max_rows=args.max_rows, queue_size=4 * args.clients)
        engine = Engine(settings)
        engine.start()
        while not engine.ready:
            time.sleep(0.1)
    model = engine.loaded()[0]
    if model.compiled:
        model.compiled.thread.join()
    on_cpu, cores = model.device.type == "cpu", len(os.sched_getaffinity(0))
    kind = f"{cores} cores" if on_cpu else torch.cuda.get_device_name()
    print(f"{model.name}, {model.size} x {model.size}, {model.dtype}, {kind}, torch {torch.__version__}")
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, load {os.getloadavg()[0]:.1f} when it began\n")
    rate, (step, picture) = matmul_rate(model.device, model.dtype), flops(model)
    print(
        f"Matrix product: {rate / 1e9:,.0f} GFLOP/s. A step: {step / 1e9:.3g} GFLOP; a picture's VAE: {picture / 1e9:.3g}.\n"
    )

    systems: dict[str, Callable[[], float]] = {}
    for n in sorted({1, torch.get_num_threads()}) if on_cpu else [torch.get_num_threads()]:
        label = f"(a) pipeline, one request after another{f', {counted(n)}' * on_cpu}"
        systems[label] = lambda n=n: by_pipeline(model, n, args.seconds)  # type: ignore[misc]
    if on_cpu:
        processes = Processes(model.name, settings, cores)
        systems[f"(c) {cores} pipelines in processes, 1 thread each"] = lambda: by_processes(processes, args.seconds)
    where = Where() if on_cpu else None
    systems[f"(d) engine, {args.clients} requests outstanding"] = lambda: by_engine(
        engine, args.clients, args.seconds, where
    )
    selected = {label: run for label, run in systems.items() if not args.only or label[1] in args.only}
    step_rates: dict[str, list[float]] = {}

    def measure(suffix: str = "") -> None:
        call(model, [next(endless())])  # warms up caches, and compiles
        for _ in range(args.runs):
            for label, run in selected.items():
                step_rates.setdefault(label + suffix, []).append(run())

    measure()
    if args.compile:
        model.pipeline.unet.compile_repeated_blocks()
        selected.pop(next((label for label in selected if label.startswith("(c)")), ""), None)
        by_engine(engine, args.clients, 10)
        measure(", compiled")
    rates = {label: statistics.median(values) / 25 for label, values in step_rates.items()}
    best = max((r for label, r in rates.items() if label.startswith("(a)")), default=0)
    print("| | pictures of 25 steps a second | x (a) | of the matrix product rate |\n|---|---|---|---|")
    for label, r in rates.items():
        share, each = r * (25 * step + picture) / rate, ", ".join(f"{v / 25:.2f}" for v in step_rates[label])
        print(f"| {label} | {r:.2f} ({each}) | {r / (best or r):.2f} | {share:.0%} |")
    if where:
        print("\n" + where.table())
    print(f"\nLoad when it ended: {os.getloadavg()[0]:.1f}")
    if on_cpu:
        processes.close()
    engine.close()


if __name__ == "__main__":
    main()
