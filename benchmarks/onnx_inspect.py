"""Compares the inspector to onnx's own tools on a model with 1 GB of weights, inline and as external data.

    python benchmarks/onnx_inspect.py [--megabytes 1024] [--layers 64] [--runs 3]

Each row is a fresh Python process: its total wall time, the time of the imports and of the work itself, and its
peak memory (ru_maxrss, including interpreter and imports). Times are medians, the peak is the maximum. The file is
in the page cache. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROWS = {  # key: (label, work of the child)
    "nothing": ("Python alone", "nothing"),
    "imports": ("Python and the inspector's imports", "imports"),
    "read": ("read the file once", "read"),
    "inspect": ("**inspect**", "inspect"),
    "bare": ("inspect the same graph without weights", "inspect"),
    "load": ("`onnx.load`", "load"),
    "check": ("`onnx.load` + `check_model(full_check=True)`", "check"),
}
MODELS = {"inline": "weights in the file", "external": "weights in a file beside it"}


def write(folder: Path, megabytes: int, layers: int) -> None:
    """Writes a model of MatMul, Add and Relu layers in three variants.

    ``inline.onnx``, ``external.onnx`` with ``weights.bin``, and ``bare.onnx`` with the weights as graph inputs.
    """
    import numpy as np
    import onnx
    from onnx import TensorProto, helper

    width = int((megabytes * (1 << 20) / 4 / layers) ** 0.5)
    rng = np.random.default_rng(0)
    nodes, inline, external, inputs = [], [], [], []
    with (folder / "weights.bin").open("wb") as file:
        for k in range(layers):
            for name, dims in ((f"w{k}", [width, width]), (f"b{k}", [width])):
                data = rng.standard_normal(dims, np.float32).tobytes()
                where = [("location", "weights.bin"), ("offset", file.tell()), ("length", len(data))]
                file.write(data)
                inline.append(TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims, raw_data=data))
                tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
                for key, value in where:
                    tensor.external_data.add(key=key, value=str(value))
                external.append(tensor)
                inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
            nodes.append(helper.make_node("MatMul", [f"x{k}", f"w{k}"], [f"m{k}"], f"/layer{k}/matmul"))
            nodes.append(helper.make_node("Add", [f"m{k}", f"b{k}"], [f"a{k}"], f"/layer{k}/add"))
            nodes.append(helper.make_node("Relu", [f"a{k}"], [f"x{k + 1}"], f"/layer{k}/relu"))
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", width]) for n in ("x0", f"x{layers}")]
    for name, weights, graph_inputs in (("inline", inline, []), ("external", external, []), ("bare", [], inputs)):
        graph = helper.make_graph(nodes, name, [ends[0], *graph_inputs], [ends[1]], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8)
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
        assert name == "bare" or onnx.load(folder / f"{name}.onnx", load_external_data=False).graph.initializer


def files(folder: Path, name: str) -> list[Path]:
    return [folder / f"{name}.onnx", *([folder / "weights.bin"] if name == "external" else [])]


def prepare(what: str, folder: Path, name: str) -> Callable[[], object]:
    """Imports what the work ``what`` needs, and returns a function that does the work."""
    path = folder / f"{name}.onnx"
    if what == "nothing":
        return lambda: None
    if what == "read":

        def read() -> None:
            for part in files(folder, name):
                with part.open("rb", buffering=0) as file:
                    while file.read(1 << 20):
                        pass

        return read
    if what == "imports":
        import lib.onnx_inspect.tasks  # noqa: F401

        return lambda: None
    if what == "inspect":
        from lib.onnx_inspect.tasks import inspect

        externals = {p.name: str(p) for p in files(folder, name)[1:]}

        def report() -> None:
            answer = inspect(lambda *_: None, str(path), externals, path.name, {})
            assert answer["valid"] and answer["macs"] and not answer["not_counted"], answer["problems"]

        return report
    import onnx

    if what == "load":
        return lambda: onnx.load(path)
    assert what == "check"
    return lambda: onnx.checker.check_model(onnx.load(path), full_check=True)


def child(what: str, folder: Path, name: str) -> None:
    start = time.perf_counter()
    work = prepare(what, folder, name)
    imported = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        os.chdir(scratch)
        work()
        done = time.perf_counter()
        os.chdir(ROOT)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"imports": imported - start, "work": done - imported, "peak": peak}))


def measured(what: str, folder: Path, name: str, runs: int) -> dict[str, float]:
    """Runs the work in child processes. Returns median times in seconds, and the largest peak in bytes.

    This process must stay small: on Linux, the child's peak includes the parent's memory at the time of the fork.
    """
    results: list[dict[str, float]] = []
    for _ in range(runs):
        start = time.perf_counter()
        command = [sys.executable, __file__, "--child", what, "--folder", str(folder), "--model", name]
        out = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, check=True
        ).stdout
        results.append(json.loads(out) | {"wall": time.perf_counter() - start})
    return {k: (max if k == "peak" else statistics.median)(f[k] for f in results) for k in results[0]}


def ratios(one: dict[str, float], other: dict[str, float]) -> str:
    return ", ".join(f"{key} × {one[key] / other[key]:.2f}" for key in ("wall", "work", "peak"))


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--megabytes", type=int, default=1024)
    ap.add_argument("--layers", type=int, default=64)
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--child", help=argparse.SUPPRESS)
    ap.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    ap.add_argument("--model", help=argparse.SUPPRESS)
    args = ap.parse_args()
    if args.child == "write":
        return write(args.folder, args.megabytes, args.layers)
    if args.child:
        return child(args.child, args.folder, args.model)
    with tempfile.TemporaryDirectory(prefix="onnx-inspect-") as scratch:
        folder = Path(scratch)
        sizes = ["--megabytes", str(args.megabytes), "--layers", str(args.layers)]
        subprocess.run([sys.executable, __file__, "--child", "write", "--folder", scratch, *sizes], check=True)
        for name, title in MODELS.items():
            total = sum(p.stat().st_size for p in files(folder, name))
            print(f"**{title}**: {total / 1e6:,.0f} MB, {3 * args.layers} nodes, {args.runs} runs\n")
            print("| | wall s | of it imports s | work s | peak MB |\n|---|---|---|---|---|")
            seen: dict[str, dict[str, float]] = {}
            for key, (label, what) in ROWS.items():
                row = seen[key] = measured(what, folder, "bare" if key == "bare" else name, args.runs)
                print(
                    f"| {label} | {row['wall']:.2f} | {row['imports']:.2f} | {row['work']:.3f} | {row['peak'] / 1e6:,.0f} |",
                    flush=True,
                )

            print(f"\nInspect against the same without weights: {ratios(seen['inspect'], seen['bare'])}.")
            print(f"load + check_model against inspect: {ratios(seen['check'], seen['inspect'])}.\n")


if __name__ == "__main__":
    main()
