"""Compares a verified conversion to the bare call of the same tool, and breaks down where the time goes.

    python benchmarks/convert.py [--runs 3] [--source torchvision:mobilenet_v3_small]

Bare: the edge's own function, called in a process with all imports done and the source available. Proven: the same
through ``Converter.convert``: checking or building the source, the edge in a child process, the proof, the zip. Both
run alternately. Compare the ratios; seconds depend on the machine.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from lib.convert.intake import sources
from lib.convert.service.converter import Converter, Source
from lib.convert.service.options import chosen
from lib.convert.service.routes import routes, runs_here
from lib.jobs import Progress
from lib.settings import Settings


def bare(format: str, folder: Path, target: str) -> float:
    """Returns the total seconds of the edges alone."""
    route = routes(format, runs_here)[target]
    begun, source = time.perf_counter(), folder
    for edge, options in zip(route, chosen(route, {}).of_edge, strict=True):
        if edge.environment != "app":
            raise SystemExit(f"{edge.source} -> {edge.target} runs in another environment; no bare call here")
        module, name = edge.run.split(":")
        out = Path(tempfile.mkdtemp())
        all_options = {"sizes": {}, "samples": None, "min_agreement": 0.95} | options
        getattr(importlib.import_module(module), name)(lambda *_: None, source, out, all_options)
        source = out
    return time.perf_counter() - begun


def proven(converter: Converter, source: Source, target: str) -> tuple[float, dict[str, float], dict[str, Any]]:
    """Returns the total seconds, the seconds per stage, and the report."""
    begun = last = time.perf_counter()
    stages: dict[str, float] = defaultdict(float)
    stage, report = "waiting", {}
    for event in converter.convert(source, target, {}, Path(tempfile.mkdtemp())).events():
        now = time.perf_counter()
        stages[stage] += now - last
        last = now
        if isinstance(event, Progress):
            stage = "the edges" if event.stage.startswith("Step") else event.stage
        else:
            report = event.value["report"]
    return time.perf_counter() - begun, stages, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--source", default="torchvision:mobilenet_v3_small")
    parser.add_argument("--targets", nargs="*", default=["onnx", "pt2"])
    parser.add_argument("--further", nargs="*", default=["onnx-fp16", "onnx-int8-dynamic", "onnx-slim", "openvino", "pt2"])
    args = parser.parse_args()
    converter = Converter(Settings())
    try:
        print(f"| source | target | bare s | proven s | ratio | verdict | where the time goes |\n{'|---' * 7}|")
        folder = Path(tempfile.mkdtemp())
        format, _ = sources.admit_source({}, args.source, folder)
        for target in args.targets:
            show(converter, Source(name=args.source), format, folder, target, args.runs)
        result_folder = Path(tempfile.mkdtemp())
        result = converter.convert(Source(name=args.source), "onnx", {}, result_folder).result()
        artifact = Path(tempfile.mkdtemp())  # under the name that the bare edges expect
        (artifact / "model.onnx").write_bytes(Path(result["artifact"]).read_bytes())
        files = {"model.onnx": artifact / "model.onnx"}
        for target in args.further:
            show(converter, Source(files=files), "onnx", artifact, target, args.runs)
    finally:
        converter.close()


def show(converter: Converter, source: Source, format: str, folder: Path, target: str, runs: int) -> None:
    bare(format, folder, target)  # warm-up: imports in this process and the child
    proven(converter, source, target)
    alone, total, parts, verdict = [], [], defaultdict(list), ""
    for _ in range(runs):
        alone.append(bare(format, folder, target))
        seconds, stages, report = proven(converter, source, target)
        total.append(seconds)
        verdict = report["verdict"]
        for stage, spent in stages.items():
            parts[stage].append(spent)
    a, b = statistics.median(alone), statistics.median(total)
    spent = sorted(((statistics.median(times), stage) for stage, times in parts.items()), reverse=True)
    shares = ", ".join(f"{stage} {seconds:.1f}" for seconds, stage in spent if seconds >= 0.05)
    print(
        f"| {source.name or 'uploaded ONNX'} | {target} | {a:.2f} | {b:.2f} | {b / a:.2f} | {verdict} | {shares} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
