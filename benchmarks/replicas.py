"""Compares the picture engine in the app's process, in child processes and in Ray Serve on this machine.

    python benchmarks/replicas.py [--turns 3] [--count 48] [--steps 20] [--systems process 1 2]

The systems run alternately, each in a process of its own, with one thread per replica. After a warm-up it gets
``count`` guided requests at once (with previews and several owners). CPU seconds are those of the whole process tree:
page, replicas, and Ray's own processes. With two replicas, it also measures how soon a killed and a frozen replica are
detected, and how soon a cancelled request frees its rows. Prints Markdown; compare ratios, seconds depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch, as in web/environment.py
os.environ["OMP_NUM_THREADS"] = "1"  # one core per replica

from lib.settings import EMBEDDED, Settings
from lib.text_to_image.engine import Engine
from lib.text_to_image.request import Request

SYSTEMS = {
    "process": ("in the app's process", ""),
    "1": ("1 child", "1"),
    "2": ("2 children", "2"),
    "ray1": ("1 Ray replica", "ray://local?replicas=1"),
    "ray2": ("2 Ray replicas", "ray://local?replicas=2"),
}
ONE_OF = {"2": "1", "ray2": "ray1"}  # the baseline of two replicas


def processor_seconds() -> float:
    """Returns the CPU seconds of this process and its descendants.

    Includes descendants that have ended, if their parent waited for them.
    """
    parents, spent = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            values = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(path.parent.name)
        parents[pid], spent[pid] = int(values[1]), sum(map(int, values[11:15]))
    family = {os.getpid()}
    while children := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= children
    return sum(spent.get(pid, 0) for pid in family) / os.sysconf("SC_CLK_TCK")


def until(condition: Callable[[], object], seconds: float = 600) -> float:
    """Waits until ``condition`` holds, and returns the seconds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise SystemExit("waited too long")
        time.sleep(0.002)
    return time.monotonic() - began


def make(replicas: str) -> Any:
    settings = replace(Settings(), models=(EMBEDDED,), device="cpu", queue_size=1000, replicas=replicas)
    if not replicas:
        return Engine(settings)
    from lib.replicas.remote import RemoteEngine

    return RemoteEngine(settings)


def burst(engine: Any, count: int, steps: int, seed: int) -> None:
    requests = [Request(prompt="a red car on a track", steps=steps, seed=seed + k) for k in range(count)]
    tickets = [engine.submit(request, owner=f"client {k % 8}") for k, request in enumerate(requests)]
    for ticket in tickets:
        ticket.result()


def faults(engine: Any) -> dict[str, float]:
    """Measures the seconds until a killed and a frozen replica are detected, and a cancelled request frees its rows."""
    delays: dict[str, float] = {}
    replicas = engine._fleet.replicas
    for name, number in (("killed", signal.SIGKILL), ("frozen", signal.SIGSTOP)):
        until(lambda: all(replica.usable for replica in replicas))
        tickets = [engine.submit(Request(prompt="a red car", steps=150, seed=k)) for k in range(8)]
        until(lambda: all(engine._dispatcher.flights.of(replica) for replica in replicas))
        time.sleep(1.0)
        victim = replicas[0]
        pid = victim.pid
        os.kill(pid, number)
        delays[name] = until(lambda v=victim: not v.alive)
        for ticket in tickets:
            ticket.result()
        if number == signal.SIGSTOP and Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGCONT)
    until(lambda: all(replica.usable for replica in replicas))
    ticket = engine.submit(Request(prompt="a red car", steps=150))
    until(lambda: any(replica["rows"] for replica in engine.status()["replicas"]))
    time.sleep(1.0)
    ticket.cancel()
    delays["left"] = until(lambda: not any(replica["rows"] for replica in engine.status()["replicas"]))
    return delays


def one(name: str, count: int, steps: int, ill: bool) -> dict[str, Any]:
    """Measures one system. Runs in a process of its own."""
    engine = make(SYSTEMS[name][1])
    engine.start()
    until(lambda: engine.ready)
    if SYSTEMS[name][1]:
        until(lambda: all(replica.usable for replica in engine._fleet.replicas))
    burst(engine, 8, steps, 0)
    time.sleep(2.0)  # for background work after the start
    spent, began = processor_seconds(), time.monotonic()
    burst(engine, count, steps, 100)
    seconds = time.monotonic() - began
    result: dict[str, Any] = {"rate": count / seconds, "cpu": (processor_seconds() - spent) / count}
    if ill and name in ONE_OF:
        result |= faults(engine)
    engine.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--systems", nargs="*", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--ill", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one, args.count, args.steps, args.ill)), flush=True)
        return
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in args.systems}
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f} when it began, one thread a replica\n")
    for turn in range(args.turns):
        for name in args.systems:
            command = [sys.executable, __file__, "--one", name, "--count", str(args.count), "--steps", str(args.steps)]
            command += ["--ill"] if turn == 0 else []
            run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
            results[name].append(json.loads(run.stdout.splitlines()[-1]))
    show(results)
    print(f"\nLoad when it ended: {os.getloadavg()[0]:.1f}")


def show(found: dict[str, list[dict[str, Any]]]) -> None:
    rate, cpu = (
        {name: statistics.median(run[key] for run in runs) for name, runs in found.items()} for key in ("rate", "cpu")
    )
    print("| | pictures/s | × one replica | CPU s a picture | over the app's process |\n|---|---|---|---|---|")
    for name, runs in found.items():
        spread = f"{rate[name]:.2f} ({min(r['rate'] for r in runs):.2f} to {max(r['rate'] for r in runs):.2f})"
        times = f"{rate[name] / rate[ONE_OF[name]]:.2f}" if ONE_OF.get(name) in rate else ""
        over = f"{100 * (cpu[name] / cpu['process'] - 1):+.1f} %" if "process" in cpu else ""
        print(f"| {SYSTEMS[name][0]} | {spread} | {times} | {cpu[name]:.3f} | {over} |")
    ill = {name: runs[0] for name, runs in found.items() if "killed" in runs[0]}
    if ill:
        print("\n| seconds until it is noticed | killed | frozen | caller gone: rows out |\n|---|---|---|---|")
        for name, run in ill.items():
            print(f"| {SYSTEMS[name][0]} | {run['killed']:.2f} | {run['frozen']:.1f} | {run['left']:.2f} |")


if __name__ == "__main__":
    main()
