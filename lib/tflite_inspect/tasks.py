"""What runs in the child process: one function a question, JSON in and out (``lib/jobs.py``).

``model`` is the path of the uploaded file: a .tflite, or a bundle of them, of which ``member`` is meant (the largest
where it is ""). The working folder is the job's own; a file for the visitor is written to ``out``, which its caller made.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

from lib.errors import InvalidFile, InvalidValue
from lib.onnx_model import magic
from lib.reports import values as values_
from lib.tflite import file as tflite_file
from lib.tflite import tasks as tflite_tasks
from lib.tflite.flatbuffer import check_tflite
from lib.tflite_inspect import bundle, feeds, names, run, summary, tensors, viewer
from lib.tflite_inspect.graph import weight_bytes

Progress = Callable[..., None]
HERE = Path(".")
MEMBER = "member.tflite"


def _opened(model: str, member: str) -> tuple[Path, dict[str, Any] | None]:
    """The .tflite itself, and what is known of the bundle that it was in."""
    path = Path(model)
    if not bundle.is_zip(path):
        with path.open("rb") as file:
            head = file.read(64)
        if head[4:8] != tflite_file.IDENTIFIER:
            raise InvalidFile(f"Not a TensorFlow Lite file: {_instead(head)}. Upload the .tflite itself.")
        return path, None
    taken = HERE.resolve() / MEMBER
    taken.unlink(missing_ok=True)
    return taken, bundle.extract(path, member, taken)


def _instead(head: bytes) -> str:
    """What it is, where that is known."""
    if not head:
        return "it is empty"
    known = [what for offset, mark, what, _ in magic.MAGIC if head[offset:].startswith(mark) and b"TFL3" not in mark]
    known += ["text"] if magic.is_text(head) else []
    return f"it is {known[0]}" if known else "the identifier TFL3 is missing at its beginning"


def inspect(
    progress: Progress, model: str, name: str, sizes: dict[str, int], out: str | None = None, member: str = ""
) -> dict[str, Any]:
    """The report; with ``out``, also ``graph.tflite`` there for a viewer, and ``member.tflite`` of a bundle."""
    progress("Reading the structure", 0.1)
    path, found = _opened(model, member)
    progress("Checking and counting", 0.3)
    shown = Path(found["member"]).name if found else name
    report = summary.report(path, shown, sizes) | {"bundle": found | {"name": name} if found else None}
    if out is not None:
        progress("Preparing the graph", 0.9)
        viewer.write(path, Path(out))
        if found:
            shutil.copyfile(path, Path(out) / MEMBER)
    return report


def execute(
    progress: Progress,
    model: str,
    inputs: str | None,
    seed: int,
    runs: int,
    sizes: dict[str, int],
    out: str | None = None,
    values: dict[str, Any] | None = None,
    samples: dict[str, Any] | None = None,
    member: str = "",
) -> dict[str, Any]:
    """The result of a run on ``inputs`` (an .npz), ``samples`` ({path, name, preprocessing}), typed ``values``, or
    random ones. With ``out``, the run's .npz files there."""
    path, _ = _opened(model, member)
    given: Any = Path(inputs) if inputs else values
    if samples:
        given = feeds.SamplesFile(Path(samples["path"]), samples["name"], samples.get("preprocessing") or {})
    result = run.run(path, given, seed, runs, sizes, HERE, progress)
    for name in ("inputs.npz", "outputs.npz", "reference.npz"):
        if out is not None and (HERE / name).is_file():
            shutil.move(name, Path(out) / name)
    return result


def tensor(progress: Progress, model: str, tensor: str, member: str = "") -> dict[str, Any]:
    """Statistics of one weight's stored values, and its quantisation. Raises InvalidValue for a name that is no weight."""
    progress("Reading the values", 0.2)
    path, _ = _opened(model, member)
    check_tflite(path)
    opened = tflite_file.read(path)
    found = {t["name"]: t for graph in reversed(opened["subgraphs"]) for t in graph["tensors"] if weight_bytes(opened, t)}
    if tensor not in found:
        raise InvalidValue("tensor", tensor, f"one of the model's {len(found)} tensors with values")
    one = found[tensor]
    values = tflite_file.stored(opened, one)
    if values is None:
        kind = names.dtype(one["type"])
        raise InvalidValue("tensor", tensor, f"a plain array; the values of this one are packed ({kind}, sparse or text)")
    out = {"name": tensor, "dtype": names.dtype(one["type"]), "shape": one["shape"].tolist()}
    out |= {"count": prod(out["shape"]), "bytes": weight_bytes(opened, one), "quantization": tensors.quantization(one)}
    return out | values_.statistics(values.reshape(-1), values.size)


def edit(
    progress: Progress, model: str, name: str, changes: dict[str, Any], target: str, out: str | None = None, member: str = ""
) -> dict[str, Any]:
    """Writes the file with changed metadata to ``target``; the report of that. Raises InvalidValue for a wrong change."""
    path, _ = _opened(model, member)
    tflite_tasks.edit(progress, str(path), changes, target)
    return inspect(progress, target, name, {}, out)
