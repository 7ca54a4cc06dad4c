"""PyTorch -> ONNX over many architectures: ``python -m tests.convert.torch_coverage [substring …]``.

Every architecture is built with random weights, converted and proved in a child process with limits; a line of
JSON each is appended to ``torch_coverage.jsonl`` in the temporary folder, so an interrupted run goes on where it
was; substrings run those again. ``--write`` puts the table into ``docs/coverage.md``. Pictures are small where the
architecture takes them.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lib.errors import WorkbenchError
from lib.jobs import Jobs, Limits

LOG = Path(tempfile.gettempdir()) / "torch_coverage.jsonl"
DOCS = Path(__file__).parents[2] / "docs" / "coverage.md"
START, END = "<!-- pytorch-to-onnx -->", "<!-- /pytorch-to-onnx -->"
WORKERS = 2
LIMITS = Limits(memory_mb=12_000, cpu_seconds=1500, wall_seconds=1800, file_mb=4096)
SEEDS = (0, 1, 2)
PRELOAD = (
    *("torch", "torchvision", "torch.export", "torch._dynamo", "torch.onnx._internal.exporter._compat"),
    *("onnxscript.function_libs.torch_lib.ops", "onnxruntime", "transformers.modeling_utils", "safetensors.torch"),
    "tests.convert.torch_warm",
)
# pictures: as small as the architecture makes sense at; the rest takes 64
SIZES = {"inception_v3": 96, "googlenet": 64, "maxvit_t": 224, "vit_h_14": 112, "swin": 96, "vit_": 96, "densenet": 64}
BIG = ("vit_h_14", "regnet_y_128gf", "vit_l", "regnet_y_32gf", "convnext_large")  # last: they need much memory


def sources() -> list[tuple[str, str, dict[str, Any]]]:
    """(task, source, config) of everything, those that need much memory last."""
    from lib.convert.formats.pytorch import torchvision_models as torchvision
    from tests.convert.torch_configs import configs

    out = [("transformers", f"transformers:{c['model_type']}", c) for c in configs()]
    for task, names in torchvision.NAMES.items():
        for name in names:
            size = next((s for prefix, s in SIZES.items() if name.startswith(prefix)), 64)
            if task == "detection":
                config = {} if name in torchvision.FIXED_SIZE else {"image_size": 320}
            else:
                config = {"image_size": size}
            out.append((task, f"torchvision:{name}", config))
    # in turns and the small ones first, so that a run that is cut short has seen some of each
    tasks = [[row for row in out if row[0] == task] for task in ("transformers", *torchvision.NAMES)]
    for rows in tasks[1:]:
        rows.sort(key=lambda row: parameters(row[1]))
    turns = [((k + 0.5) / len(rows), row) for rows in tasks for k, row in enumerate(rows)]
    return [row for _, row in sorted(turns, key=lambda t: (t[1][1].split(":")[1].startswith(BIG), t[0]))]


def parameters(source: str) -> int:
    """Of torchvision's published weights."""
    from torchvision.models import get_model_weights

    return int(get_model_weights(source.split(":")[1]).DEFAULT.meta["num_params"])


def one(progress: Callable[..., None], source: str, config: dict[str, Any]) -> dict[str, Any]:
    """The task: ``verdict``, ``reason``, ``range_error``, ``moves``, seconds. Runs in a child."""
    import torch

    from lib.convert.core.tool_messages import sanitize_message
    from lib.convert.edges import architecture_to_onnx
    from lib.convert.formats import load
    from lib.convert.formats.pytorch import architectures
    from lib.convert.proof import cases as proof_cases
    from lib.convert.proof.measures import Pair
    from lib.convert.proof.ranking import ROWS, aligned
    from lib.convert.proof.verdict import decide

    torch.set_num_threads(1)
    folder, target = Path("source"), Path("target")
    folder.mkdir()
    target.mkdir()
    out: dict[str, Any] = {"source": source, "config": config}
    start = time.perf_counter()
    file = Path("config.json")
    file.write_text(json.dumps(config))
    name = "transformers:" if source.startswith("transformers:") else source
    out["messages"] = architectures.prepare(name, None, file, folder)
    out["prepare_seconds"] = round(time.perf_counter() - start, 1)
    start = time.perf_counter()
    try:
        said = architecture_to_onnx.convert(lambda *_: None, folder, target, {"opset": "default", "dynamic": True})
    except Exception as error:
        return out | {"verdict": "failed", "stage": "export", "reason": sanitize_message(error)}
    out |= {"export_seconds": round(time.perf_counter() - start, 1), "fixed": said.get("fixed", {})}
    out["messages"] += said["messages"]
    ours, theirs = load("architecture", folder), load("onnx", target)
    signature, pairs, plain = ours.signature(), [], {}
    ranked = [v.name for v in signature.outputs if v.shape[:1] == (ROWS,)]
    for case in proof_cases.cases(signature, SEEDS, out["fixed"]):
        expected = ours.run(case.arrays)
        if case.kind.startswith("perturbed"):
            before = plain[case.kind.removeprefix("perturbed").strip() or "ordinary", case.seed]
            pairs.append(Pair(case.kind, aligned(before, expected, ranked), None, seed=case.seed))
            continue
        plain[case.kind, case.seed] = expected
        try:
            found = aligned(expected, theirs.run(case.arrays), ranked)
            pairs.append(Pair(case.kind, expected, found, "", case.sizes, case.seed, case.changed))
        except Exception as error:
            pairs.append(Pair(case.kind, expected, None, sanitize_message(error), case.sizes, case.seed, case.changed))
    judged = decide(pairs, "fp32")
    moved = [o["moves"] for o in judged.outputs if o["moves"] is not None]
    out |= {"verdict": judged.verdict, "reason": judged.reason, "range_error": judged.range_error}
    return out | {"moves": min(moved, default=None), "cases": judged.cases, "stage": "proof"}


def done() -> dict[str, dict[str, Any]]:
    lines = LOG.read_text().splitlines() if LOG.is_file() else []
    return {row["source"]: row for row in map(json.loads, lines)}


def run(wanted: list[str]) -> None:
    finished = done()
    rows = [r for r in sources() if (any(w in r[1] for w in wanted) if wanted else r[1] not in finished)]
    jobs = Jobs(workers=WORKERS, waiting=len(rows), preload=PRELOAD)

    def work(row: tuple[str, str, dict[str, Any]]) -> None:
        task, source, config = row
        start = time.perf_counter()
        job = jobs.submit("tests.convert.torch_coverage:one", {"source": source, "config": config}, limits=LIMITS)
        try:
            found = job.result()
        except WorkbenchError as error:
            found = {"source": source, "config": config, "verdict": "failed", "stage": "job", "reason": error.message}
        found |= {"task": task, "seconds": round(time.perf_counter() - start, 1)}
        with LOG.open("a") as file:
            file.write(json.dumps(found) + "\n")
        print(found["verdict"], source, found.get("range_error"), found["seconds"], found["reason"], flush=True)

    jobs.start()
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, rows))
    jobs.close()


def table() -> str:
    """The part of ``docs/coverage.md``: counts first, then a row each."""
    finished, every = done(), sources()
    lines = [
        START,
        "## PyTorch → ONNX",
        "",
        "Made by `python -m tests.convert.torch_coverage --write`. Every torchvision classification, segmentation and "
        f"detection architecture, and {sum(t == 'transformers' for t, *_ in every)} model types of transformers from small "
        "configs: random weights (seed 0, batch norms calibrated), torch.onnx.export with dynamic batch and sequence, "
        "onnxruntime against PyTorch by `lib/convert/proof/verdict.py` (fp32; three seeds, batch 1 and 3 where dynamic, "
        "zeros and large values). Pictures are small where the architecture takes them. Seconds are those of the export, on "
        "two busy cores: compare, do not quote. A detection model takes one picture and goes through torch's older "
        "exporter; those that failed give the same detections but for a few whose score or overlap lies next to a threshold "
        "(1 to 3 of 100 rows in fasterrcnn_resnet50_fpn), of which random weights have many.",
        "",
        "| task | architectures | run | proven | unproven | failed |",
        "|---|---|---|---|---|---|",
    ]
    tasks = list(dict.fromkeys(task for task, *_ in every))
    for task in sorted(tasks):
        names = [name for t, name, _ in every if t == task]
        found = [finished[n]["verdict"] for n in names if n in finished]
        counts = " | ".join(str(found.count(v)) for v in ("proven", "unproven", "failed"))
        lines.append(f"| {task} | {len(names)} | {len(found)} | {counts} |")
    left = [name for _, name, _ in every if name not in finished]
    lines += ["", f"Run: {len(every) - len(left)} of {len(every)}."]
    if left:
        lines += ["", f"Not run yet: {', '.join(n.split(':')[1] for n in left)}."]
    lines += [
        "",
        "| architecture | verdict | largest error / range | outputs move by | seconds | remarks |",
        "|---|---|---|---|---|---|",
    ]
    for task in sorted(tasks):
        for name in sorted(name for t, name, _ in every if t == task and name in finished):
            lines.append(_row(finished[name]))
    return "\n".join([*lines, END])


def _row(found: dict[str, Any]) -> str:
    remarks = [] if found["verdict"] == "proven" else [found["reason"]]
    if found.get("fixed"):
        remarks.append("fixed: " + ", ".join(f"{n} = {s}" for n, s in found["fixed"].items()))
    if "layers rescaled" in found.get("messages", [""])[0]:
        remarks.append("layers rescaled")
    error, moves = found.get("range_error"), found.get("moves")
    figures = ["" if error is None else f"{error:.1e}", "" if moves is None else f"{moves:.2f}"]
    said = "; ".join(remarks).replace("|", "/").replace("<", "&lt;")
    cells = [found["source"], found["verdict"], *figures, str(found.get("export_seconds", "")), said[:300]]
    return f"| {' | '.join(cells)} |"


def write() -> None:
    text = DOCS.read_text() if DOCS.is_file() else f"# Coverage of conversions\n\n{START}\n{END}\n"
    if START not in text:
        text += f"\n{START}\n{END}\n"
    before, rest = text.split(START, 1)
    DOCS.write_text(before + table() + rest.split(END, 1)[1])


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments == ["--write"]:
        write()
    else:
        run(arguments)
