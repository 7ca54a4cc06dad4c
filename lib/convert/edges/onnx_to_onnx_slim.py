"""Slims ONNX with onnxslim: folds constants, fuses batch norms, removes dead and duplicate nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.edges import Progress, edge


@edge(
    "onnx",
    "onnx-slim",
    tool="onnxslim.slim",
    precision="fp32",
    seconds=2,
    error=2e-6,
    needs=("onnxslim",),
    note="Folds constants and fuses layers; names of inputs and outputs and dynamic dimensions stay.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Raises InvalidFile for a bad source, JobFailed if onnxslim fails or changes the model's inputs or outputs."""
    import onnxslim

    from lib.convert.core.tool_messages import sanitize_message
    from lib.convert.formats.onnx import files as onnx_files
    from lib.convert.formats.onnx import interface as onnx_interface
    from lib.convert.formats.onnx import metadata as onnx_metadata
    from lib.convert.formats.onnx import tidy as onnx_tidy
    from lib.errors import JobFailed

    progress("Reading the model", 0.1)
    model = onnx_files.tidied(source)
    messages = onnx_tidy.weights_are_no_inputs(model)
    before, interface, metadata = onnx_files.operators(model), onnx_interface.of(model), onnx_metadata.of(model)
    progress("Slimming", 0.3)
    try:
        slim = onnxslim.slim(model)
    except (Exception, SystemExit) as error:  # its passes raise anything
        raise JobFailed(f"onnxslim refused: {sanitize_message(error)}") from None
    if change := onnx_interface.restore(slim, interface):
        raise JobFailed(f"onnxslim changed the model's inputs or outputs ({change}); not used.")
    progress("Saving", 0.9)
    messages += metadata.keep(slim)
    onnx_files.write(slim, target, source)
    after = onnx_files.operators(slim)
    removed = [f"{before[k] - after.get(k, 0)} {k}" for k in sorted(before) if before[k] > after.get(k, 0)]
    count_before, count_after = sum(before.values()), sum(after.values())
    return {
        "messages": [
            f"{count_before} nodes became {count_after}" + (f"; fewer: {', '.join(removed[:12])}." if removed else "."),
            *messages,
        ]
    }
