"""Measures training on this machine: accuracy over three seeds, and speed relative to a well-tuned plain loop.

    python benchmarks/train.py [--seeds 3] [--only accuracy|speed]

Every training is a process of its own, as started by a user: ``python -m lib.train``. Seconds are those of the whole
command, including imports, evaluation and TensorBoard logging. The plain loop (``benchmarks/plain_training.py``) uses the
same recipe, a validation after each epoch, and the better of one and two threads; it writes nothing. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
ROWS = (
    ("objects", "fine_tuning", 128, 3),
    ("digits", "fine_tuning", 64, 2),
    ("objects", "feature_extraction", 128, 30),
    ("digits", "feature_extraction", 96, 30),
)


def train(home: Path, data: str, technique: str, size: int, epochs: int, seed: int, *more: str) -> dict[str, Any]:
    """Returns the run's record with ``wall``, the seconds of the command, and ``training``, the seconds of its epochs."""
    argv = [data, "--technique", technique, "--image-size", str(size), "--epochs", str(epochs), "--seed", str(seed), *more]
    began = time.perf_counter()
    completed = subprocess.run(
        [sys.executable, "-m", "lib.train", *argv],
        cwd=ROOT,
        env=os.environ | {"DATA_FOLDER": str(home), "OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
        check=True,
    )
    wall = time.perf_counter() - began
    folder = Path(completed.stdout.strip().splitlines()[-1])
    record = json.loads((folder / "run.json").read_text()) | {"wall": wall, "training": training_seconds(folder)}
    shutil.rmtree(folder)
    return record


def training_seconds(folder: Path) -> float:
    """Returns the seconds from the first step to the end of the last epoch: steps, validation, checkpoints, trackers."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    steps, last = events.Scalars("loss/step"), events.Scalars("loss/validation")[-1]
    elapsed = last.wall_time - steps[0].wall_time
    return elapsed * len(steps) / max(1, len(steps) - 1)  # the first step began before its scalar was written


def plain(home: Path, data: str, size: int, epochs: int, threads: int, seed: int) -> float:
    argv = [data, str(home / "train" / "data" / data), *map(str, (size, epochs, 16, threads, seed))]
    completed = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "plain_training.py"), *argv],
        env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(completed.stdout.strip().splitlines()[-1])["seconds"]


def spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def accuracy(home: Path, seeds: int, only: str) -> None:
    print("| data | technique | size | epochs | right on the test pictures | command, s | of it the run, s | pictures/s |")
    print("|---|---|---|---|---|---|---|---|")
    for data, technique, size, epochs in (row for row in ROWS if only in row):
        records = []
        for seed in range(seeds):
            for cache in home.glob("train/data/*/cache/features-*"):
                cache.unlink()  # each run computes its own features
            records.append(train(home, data, technique, size, epochs, seed))
        right = spread([r["result"]["accuracy"] for r in records], ".1%")
        speed = "–"
        if technique == "fine_tuning":
            speed = spread([e["pictures_per_second"] for r in records for e in r["epochs"]], ".0f")
        count = records[0]["result"]["count"]
        wall = f"{spread([r['wall'] for r in records], '.0f')} | {spread([r['seconds'] for r in records], '.0f')}"
        print(f"| {data} | {technique} | {size} | {epochs} | {right} of {count} | {wall} | {speed} |", flush=True)


def speed(home: Path, rounds: int) -> None:
    """Compares speeds pairwise.

    Ours includes everything from the first step to the end of the last epoch, with trackers.
    """
    data, size, epochs = "objects", 128, 2
    train(home, data, "fine_tuning", size, 1, 0)  # creates the data set and the pixel cache
    by_threads = {t: plain(home, data, size, 1, t, 0) for t in (1, 2)}
    best = min(by_threads, key=lambda t: by_threads[t])
    ratios, ours, theirs = [], [], []
    for seed in range(rounds):
        bare = plain(home, data, size, epochs, best, seed)
        record = train(home, data, "fine_tuning", size, epochs, seed)
        count = record["split"]["train"] * epochs
        ours.append(count / record["training"])
        theirs.append(count / bare)
        ratios.append(ours[-1] / theirs[-1])
    print(f"\nPlain loop, one epoch: {by_threads[1]:.1f} s with one thread, {by_threads[2]:.1f} s with two.\n")
    print("| | pictures/s |\n|---|---|")
    print(f"| plain loop, {best} threads, with its validation | {spread(theirs, '.1f')} |")
    print(f"| lib.train, with its validation, checkpoint and trackers | {spread(ours, '.1f')} |")
    print(f"| ratio, pair by pair | {spread(ratios, '.2f')} |")


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--seeds", type=int, default=3)
    ap.add_argument("--only", choices=("accuracy", "speed"))
    ap.add_argument("--techniques", nargs="+", default=["fine_tuning", "feature_extraction"])
    args = ap.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.only != "speed":
            for technique in args.techniques:
                accuracy(Path(folder), args.seeds, technique)
        if args.only != "accuracy":
            speed(Path(folder), args.seeds)


if __name__ == "__main__":
    main()
