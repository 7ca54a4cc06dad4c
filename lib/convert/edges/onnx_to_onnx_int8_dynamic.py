"""Quantises ONNX to int8 weights; activations are quantised at run time, so their ranges need no calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.edges import Progress, edge

MADE_UP = 32  # inputs to measure layers on if there are no samples


@edge(
    "onnx",
    "onnx-int8-dynamic",
    tool="onnxruntime.quantization.quantize_dynamic",
    precision="int8",
    seconds=5,
    error=3e-2,
    needs=("onnxruntime",),
    options=(Option(name="per_channel", title="One scale per channel (more exact)", kind="bool", default=True),),
    note="A quarter of the size. Good for transformers and linear layers; for images use the calibrated one.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Leaves layers in float32 as needed to keep ``min_agreement`` of the top classes.

    Raises InvalidFile for a bad source or samples, JobFailed if the tool fails or its model does not load.
    """
    import tempfile

    from lib.convert.formats.onnx import files as onnx_files
    from lib.convert.tools import calibration, onnx_quantise
    from lib.convert.tools.quantise import answer
    from lib.convert.tools.quantise.onnx_dynamic import Dynamic
    from lib.convert.tools.quantise.search import search
    from lib.onnx_model.signature import signature

    opened = onnx_files.opened(source).proto
    if already := onnx_quantise.already(opened):
        return {"unchanged": onnx_quantise.ALREADY.format(already)}
    floor = options.get("min_agreement") or 0.95
    with tempfile.TemporaryDirectory() as folder:
        progress("Preparing the model", 0.1)
        path, messages = onnx_quantise.prepare(source, Path(folder))
        dynamic = Dynamic(path, per_channel=options["per_channel"])
        if not dynamic.layers:
            return {"unchanged": onnx_quantise.NOTHING}
        progress("Quantising", 0.3)
        calibration_inputs = calibration.gathered(signature(opened), {"random_samples": MADE_UP} | options)
        chosen = search(
            dynamic, calibration_inputs.rows, floor, lambda share: progress("Choosing layers", 0.3 + 0.6 * share)
        )
        progress("Saving", 0.92)
        counts = onnx_quantise.finish(dynamic.quantised(chosen.method, chosen.floats), target)
    if not counts:
        return {"unchanged": onnx_quantise.NOTHING}
    return {
        "messages": [*messages, *answer.messages(dynamic.layers, chosen, floor), counts],
        "layers": answer.layers(dynamic.layers, chosen),
        "chosen": answer.chosen(chosen),
    }
