"""ONNX to TensorFlow Lite by onnx2tf's own writer: no TensorFlow, a free batch stays free where it works."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.edges import Progress, edge


@edge(
    "onnx",
    "tflite",
    tool="onnx2tf",
    precision="fp32",
    seconds=12,
    error=3e-6,
    environment="onnx2tf",
    options=(Option(name="dynamic", title="Keep dynamic dimensions (where supported)", kind="bool", default=True),),
    note="Inputs and outputs keep the axis order of the ONNX model (channels first, where it was so).",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Free dimensions are kept where LiteRT runs the file at two sizes as onnxruntime runs the source, else fixed."""
    from lib.convert.core.tool_messages import sanitize_message
    from lib.convert.formats.onnx import files as onnx_files
    from lib.convert.proof.cases import cases
    from lib.onnx_model.signature import signature
    from lib.tflite import file as tflite_file

    progress("Converting with onnx2tf", 0.2)
    found, sizes = signature(onnx_files.opened(source).proto), options.get("sizes") or {}
    messages: list[str] = []
    if options["dynamic"] or not found.symbols():
        try:
            messages = _write(source, target, {})
            why = _dynamic_failure(source, target, sizes) if found.symbols() else ""
        except Exception as error:  # JobFailed of onnx2tf, InvalidFile of what it wrote
            if not found.symbols():
                raise
            why = sanitize_message(error)
        if not why:
            return {"messages": messages}
        messages = [f"Not with free dimensions: {why}"]
    fixed = cases(found, (0,), sizes, only_first=True)[0].sizes
    progress("Converting with fixed sizes", 0.6)
    messages += _write(source, target, fixed)
    tflite_file.read(target / tflite_file.NAME)
    as_asked = {name for name, size in fixed.items() if sizes.get(name) == size}
    sizes_text = ", ".join(f"{name} = {size}{' (as asked)' * (name in as_asked)}" for name, size in fixed.items())
    messages.append(f"Every size is fixed: {sizes_text}. Others are taken from the option sizes.")
    return {"messages": messages, "fixed": fixed}


def _write(source: Path, target: Path, fixed: dict[str, int]) -> list[str]:
    """Where onnx2tf took a transposition into an input, once more with that forbidden."""
    from lib.errors import JobFailed
    from lib.tflite import file as tflite_file

    messages = _run_onnx2tf(source, target, fixed, ())
    if transposed := _transposed_inputs(source, target, fixed):
        (target / tflite_file.NAME).unlink()
        messages = _run_onnx2tf(source, target, fixed, transposed)
        if transposed := _transposed_inputs(source, target, fixed):
            raise JobFailed(f"onnx2tf turns the axes of the input {transposed[0][:80]!r}.")
    return messages


def _run_onnx2tf(source: Path, target: Path, fixed: dict[str, int], kept: tuple[str, ...]) -> list[str]:
    from lib.convert.tools import onnx2tf as onnx2tf_tool
    from lib.errors import JobFailed
    from lib.tflite import file as tflite_file

    with onnx2tf_tool.converted(source, fixed, kept) as (made, messages):
        files = sorted(made.glob("*_float32.tflite"))
        if len(files) != 1:
            raise JobFailed("onnx2tf made no float32 file of this model.")
        shutil.move(files[0], target / tflite_file.NAME)
    tflite_file.read(target / tflite_file.NAME)
    return messages


def _transposed_inputs(source: Path, target: Path, fixed: dict[str, int]) -> tuple[str, ...]:
    """Inputs whose axes the file has in another order than the source."""
    from lib.convert.formats.onnx import files as onnx_files
    from lib.convert.proof.pairing import pair
    from lib.onnx_model.signature import signature
    from lib.tflite import file as tflite_file
    from lib.tflite.signatures import described

    theirs = {v.name: v for v in described(tflite_file.read(target / tflite_file.NAME)).inputs}
    ours = signature(onnx_files.opened(source).proto).inputs
    names = pair([v.name for v in ours], list(theirs), {})
    found = []
    for value in ours:
        shape = [fixed.get(d, d) if isinstance(d, str) else d for d in value.shape]
        got = theirs[names[value.name]].shape if value.name in names else shape
        alike = len(shape) == len(got) and all(
            a == b for a, b in zip(shape, got, strict=True) if isinstance(a, int) and isinstance(b, int)
        )
        found += [] if alike else [value.name]
    return tuple(found)


def _dynamic_failure(source: Path, target: Path, sizes: dict[str, int]) -> str:
    """Why the file's free dimensions are not worth having: the runtime's words, or that shapes differ."""
    from lib.convert.formats.onnx.runner import OnnxRunner
    from lib.convert.formats.tflite.runner import TfliteRunner
    from lib.convert.proof import cases as proof_cases
    from lib.convert.proof.pairing import pair
    from lib.errors import JobFailed

    one, two = OnnxRunner(source), TfliteRunner(target)
    given, got = one.signature(), two.signature()
    names = pair([v.name for v in given.inputs], [v.name for v in got.inputs], {})
    dtypes = {v.name: v.dtype for v in got.inputs}
    for case in (c for c in proof_cases.cases(given, (0,), sizes, other={}) if c.kind in ("ordinary", "resized")):
        try:
            wanted = one.run(case.arrays)
        except JobFailed:
            continue  # sizes that the source refuses too
        try:
            outputs = two.run({names[n]: a.astype(dtypes[names[n]]) for n, a in case.arrays.items()})
        except JobFailed as error:
            return error.message
        shapes = sorted(a.shape for a in wanted.values()), sorted(a.shape for a in outputs.values())
        if shapes[0] != shapes[1]:
            return f"the outputs are {shapes[1]}, and {shapes[0]} in the source"
    return ""
