"""Quantises ONNX to int8 weights and activations (QDQ), with ranges calibrated on samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.edges import Progress, edge

WEIGHTS = ("automatic", "int8", "int8 of 7 bits", "uint8")  # lib/convert/tools/quantise/saturation.py


@edge(
    "onnx",
    "onnx-int8-static",
    tool="onnxruntime.quantization",
    precision="int8",
    seconds=20,
    error=5e-2,
    needs=("onnxruntime",),
    options=(
        Option(
            name="random_samples", title="Made-up inputs if no samples are given", kind="int", default=64, low=1, high=512
        ),
        Option(name="per_channel", title="One scale per channel (more exact)", kind="bool", default=True),
        Option(name="weights", title="Weights", kind="choice", default="automatic", choices=WEIGHTS),
    ),
    note="A quarter of the size and faster on images. Send samples: ranges from made-up inputs may not fit real ones.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Chooses the calibration method and the layers that stay float32, to keep ``min_agreement`` of the top classes.

    Raises InvalidFile for a bad source or samples, JobFailed if the tool fails.
    """
    import tempfile

    from lib.convert.formats.onnx import files as onnx_files
    from lib.convert.tools import calibration, onnx_quantise
    from lib.convert.tools.quantise import answer, onnx_static, saturation
    from lib.convert.tools.quantise.search import search
    from lib.onnx_model.signature import signature

    described = signature(onnx_files.opened(source).proto)
    floor = options.get("min_agreement") or 0.95
    with tempfile.TemporaryDirectory() as folder:
        progress("Preparing the model", 0.05)
        if already := onnx_quantise.already(onnx_files.opened(source).proto):
            return {"unchanged": onnx_quantise.ALREADY.format(already)}
        path, messages = onnx_quantise.prepare(source, Path(folder))
        calibration_inputs = calibration.gathered(described, options)
        weights, weight_messages = saturation.weights(options["weights"])
        progress("Measuring ranges", 0.1)
        static = onnx_static.Static(
            path,
            calibration_inputs.rows,
            lambda share: progress("Measuring ranges", 0.1 + 0.3 * share),
            per_channel=options["per_channel"],
            weights=weights,
        )
        if not static.layers:
            return {"unchanged": onnx_quantise.NOTHING}
        chosen = search(
            static, calibration_inputs.rows, floor, lambda s: progress("Choosing ranges and layers", 0.4 + 0.5 * s)
        )
        progress("Saving", 0.92)
        counts = onnx_quantise.finish(static.quantised(chosen.method, chosen.floats), target)
    if not counts:
        return {"unchanged": onnx_quantise.NOTHING}
    return {
        "messages": [
            *answer.ranges(calibration_inputs.message, len(calibration_inputs.rows), static.seen),
            *messages,
            *answer.messages(static.layers, chosen, floor),
            *weight_messages,
            counts,
        ],
        "layers": answer.layers(static.layers, chosen),
        "chosen": answer.chosen(chosen),
    }
