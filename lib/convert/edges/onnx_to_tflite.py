"""Converts ONNX to TensorFlow Lite with onnx2tf's own writer, without TensorFlow; keeps dynamic dimensions if they work."""

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
    note="Inputs and outputs keep the axis order of the ONNX model (such as channels first).",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Keeps dynamic dimensions if LiteRT gives onnxruntime's output shapes at two sizes, else fixes them."""
    from lib.convert.core.tool_messages import sanitize_message
    from lib.convert.formats.onnx import files as onnx_files
    from lib.convert.proof.cases import cases
    from lib.onnx_model.signature import signature
    from lib.tflite import file as tflite_file

    progress("Converting with onnx2tf", 0.2)
    source_signature, sizes = signature(onnx_files.opened(source).proto), options.get("sizes") or {}
    messages: list[str] = []
    if options["dynamic"] or not source_signature.symbols():
        try:
            messages = _write(source, target, {})
            reason = _dynamic_failure(source, target, sizes) if source_signature.symbols() else ""
        except Exception as error:  # JobFailed from onnx2tf, InvalidFile for the file it wrote
            if not source_signature.symbols():
                raise
            reason = sanitize_message(error)
        if not reason:
            return {"messages": messages}
        messages = [f"Failed with dynamic dimensions: {reason}"]
    fixed = cases(source_signature, (0,), sizes, only_first=True)[0].sizes
    progress("Converting with fixed sizes", 0.6)
    messages += _write(source, target, fixed)
    tflite_file.read(target / tflite_file.NAME)
    requested = {name for name, size in fixed.items() if sizes.get(name) == size}
    sizes_text = ", ".join(f"{name} = {size}{' (as requested)' * (name in requested)}" for name, size in fixed.items())
    messages.append(f"Every size is fixed: {sizes_text}. Set others with the option sizes.")
    return {"messages": messages, "fixed": fixed}


def _write(source: Path, target: Path, fixed: dict[str, int]) -> list[str]:
    """Runs onnx2tf; again, with the axis order of its inputs pinned, if it folded a Transpose into an input."""
    from lib.errors import JobFailed
    from lib.tflite import file as tflite_file

    messages = _run_onnx2tf(source, target, fixed, ())
    if transposed := _transposed_inputs(source, target, fixed):
        (target / tflite_file.NAME).unlink()
        messages = _run_onnx2tf(source, target, fixed, transposed)
        if transposed := _transposed_inputs(source, target, fixed):
            raise JobFailed(f"onnx2tf transposes the input {transposed[0][:80]!r}.")
    return messages


def _run_onnx2tf(source: Path, target: Path, fixed: dict[str, int], kept: tuple[str, ...]) -> list[str]:
    from lib.convert.tools import onnx2tf as onnx2tf_tool
    from lib.errors import JobFailed
    from lib.tflite import file as tflite_file

    with onnx2tf_tool.converted(source, fixed, kept) as (folder, messages):
        files = sorted(folder.glob("*_float32.tflite"))
        if len(files) != 1:
            raise JobFailed("onnx2tf wrote no float32 file for this model.")
        shutil.move(files[0], target / tflite_file.NAME)
    tflite_file.read(target / tflite_file.NAME)
    return messages


def _transposed_inputs(source: Path, target: Path, fixed: dict[str, int]) -> tuple[str, ...]:
    """Returns the inputs whose axes are in another order in the file than in the source."""
    from lib.convert.formats.onnx import files as onnx_files
    from lib.convert.proof.pairing import pair
    from lib.onnx_model.signature import signature
    from lib.tflite import file as tflite_file
    from lib.tflite.signatures import described

    file_inputs = {v.name: v for v in described(tflite_file.read(target / tflite_file.NAME)).inputs}
    source_inputs = signature(onnx_files.opened(source).proto).inputs
    names = pair([v.name for v in source_inputs], list(file_inputs), {})
    transposed = []
    for value in source_inputs:
        shape = [fixed.get(d, d) if isinstance(d, str) else d for d in value.shape]
        file_shape = file_inputs[names[value.name]].shape if value.name in names else shape
        same = len(shape) == len(file_shape) and all(
            a == b for a, b in zip(shape, file_shape, strict=True) if isinstance(a, int) and isinstance(b, int)
        )
        transposed += [] if same else [value.name]
    return tuple(transposed)


def _dynamic_failure(source: Path, target: Path, sizes: dict[str, int]) -> str:
    """Returns why the file's dynamic dimensions do not work: the runtime's error or a shape mismatch; "" if they do."""
    from lib.convert.formats.onnx.runner import OnnxRunner
    from lib.convert.formats.tflite.runner import TfliteRunner
    from lib.convert.proof import cases as proof_cases
    from lib.convert.proof.pairing import pair
    from lib.errors import JobFailed

    source_runner, target_runner = OnnxRunner(source), TfliteRunner(target)
    source_signature, target_signature = source_runner.signature(), target_runner.signature()
    names = pair([v.name for v in source_signature.inputs], [v.name for v in target_signature.inputs], {})
    dtypes = {v.name: v.dtype for v in target_signature.inputs}
    for case in (c for c in proof_cases.cases(source_signature, (0,), sizes, other={}) if c.kind in ("ordinary", "resized")):
        try:
            expected = source_runner.run(case.arrays)
        except JobFailed:
            continue  # the source refuses these sizes, too
        try:
            outputs = target_runner.run({names[n]: a.astype(dtypes[names[n]]) for n, a in case.arrays.items()})
        except JobFailed as error:
            return error.message
        shapes = sorted(a.shape for a in expected.values()), sorted(a.shape for a in outputs.values())
        if shapes[0] != shapes[1]:
            return f"the output shapes are {shapes[1]}, but {shapes[0]} in the source"
    return ""
