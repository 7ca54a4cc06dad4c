"""Converts ONNX to float16 weights and arithmetic (onnxruntime.transformers.float16)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.edges import Progress, edge

QUANTISED = ("QuantizeLinear", "DequantizeLinear", "QLinear", "Integer", "DynamicQuantize")  # parts of operator names


@edge(
    "onnx",
    "onnx-fp16",
    tool="onnxruntime.transformers.float16",
    precision="fp16",
    seconds=1,
    error=3e-3,
    needs=("onnxruntime",),
    options=(Option(name="keep_io_types", title="Keep float32 inputs and outputs", kind="bool", default=True),),
    note="Half the size. On a CPU often slower: most kernels compute in float32 there.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Raises InvalidFile for a bad or quantised source, JobFailed if the tool fails or its model does not load."""
    from lib.convert.formats.onnx import files as onnx_files
    from lib.convert.formats.onnx import float64 as onnx_float64
    from lib.convert.formats.onnx import fold as onnx_fold
    from lib.convert.formats.onnx import lost_weights as onnx_lost
    from lib.convert.formats.onnx import metadata as onnx_metadata
    from lib.convert.formats.onnx import tidy as onnx_tidy
    from lib.convert.tools import onnx_float16
    from lib.errors import InvalidFile

    progress("Reading the model", 0.1)
    model = onnx_files.tidied(source)
    metadata = onnx_metadata.of(model)
    if quantised := sorted(k for k in onnx_files.operators(model) if any(part in k for part in QUANTISED)):
        raise InvalidFile(
            f"The model is already quantised (it has {', '.join(quantised[:4])}): float16 would change almost nothing. "
            "Convert the model from before quantisation."
        )
    messages = onnx_tidy.weights_are_no_inputs(model)
    if onnx_float64.has_float64(model):
        model = onnx_float64.to_float32(model, keep_io=options["keep_io_types"])
        messages.append("The model computes in float64; it was converted to float32 first.")
    progress("Folding constants", 0.2)
    model = onnx_fold.fold(model)
    progress("Looking for values that float16 cannot hold", 0.3)
    lost, blind_spots = onnx_float16.ranges(model, options.get("samples"), options.get("sizes") or {})
    losses, floats = onnx_lost.find_losses(model), onnx_float16.floats(model)
    if not floats:
        return {"unchanged": onnx_float16.unchanged(model)}
    progress("Converting to float16", 0.5)
    small = onnx_float16.convert(model, keep_io_types=options["keep_io_types"])
    messages += metadata.keep(small)
    progress("Saving", 0.8)
    path = onnx_files.write(small, target, source)
    onnx_files.loads(path)
    if onnx_float16.floats(small) >= floats:
        return {"unchanged": onnx_float16.unchanged(small)}
    cut, loss_messages = onnx_lost.messages_about(losses, onnx_lost.rounded(small))
    float_count = sum(t.data_type == 1 for t in small.graph.initializer)
    messages += loss_messages + (
        [f"{float_count} weights stay float32: their operators do not support float16."] if float_count else []
    )
    return {"blind_spots": blind_spots, "lost": lost + cut, "messages": messages}
