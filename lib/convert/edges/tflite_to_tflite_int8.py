"""Quantises TensorFlow Lite with AI Edge Quantizer: int8 weights, and int8 arithmetic with calibrated ranges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.edges import Progress, edge

DYNAMIC, STATIC = "dynamic (ranges while it runs)", "static (calibrated ranges)"


@edge(
    "tflite",
    "tflite-int8",
    tool="ai-edge-quantizer",
    precision="int8",
    seconds=20,
    error=5e-2,
    needs=("ai_edge_quantizer", "ai_edge_litert"),
    options=(
        Option(name="activations", title="Activations", kind="choice", default=DYNAMIC, choices=(DYNAMIC, STATIC)),
        Option(
            name="random_samples", title="Made-up inputs if no samples are given", kind="int", default=32, low=1, high=512
        ),
        Option(name="per_channel", title="One scale per channel (more exact)", kind="bool", default=True),
        Option(name="float_layers", title="Minimum number of float32 layers", kind="int", default=0, low=0, high=1000),
    ),
    note="A quarter of the size. Inputs and outputs stay float32. For static ranges send samples.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Chooses the calibration method and the layers that stay float32, to keep ``min_agreement`` of the top classes.

    Raises InvalidFile for a bad source or samples, JobFailed if the tool fails.
    """
    import tempfile

    from lib.convert.formats.tflite.runner import TfliteRunner
    from lib.convert.tools import calibration, tflite_quantise
    from lib.convert.tools.quantise import answer
    from lib.convert.tools.quantise.search import search
    from lib.convert.tools.quantise.tflite import Tflite
    from lib.tflite import codes as tflite_codes
    from lib.tflite import file as tflite_file
    from lib.tflite import signatures as tflite_signatures
    from lib.tflite import weights as tflite_weights

    progress("Reading the file", 0.05)
    before = tflite_file.read(source / tflite_file.NAME)
    if reason := tflite_weights.why_already_quantised(before):
        return {"unchanged": f"{reason} int8 would save nothing. Give the float32 model instead."}
    floor = options.get("min_agreement") or 0.95
    static = options["activations"] == STATIC
    runner = TfliteRunner(source)
    calibration_inputs = calibration.gathered(runner.signature(), options)
    runner.close()
    with tempfile.TemporaryDirectory() as scratch:
        folder = source
        if tflite_codes.is_outdated(before):
            folder = tflite_quantise.with_current_codes(source, Path(scratch))
        progress("Measuring ranges", 0.1)
        quantiser = Tflite(
            folder,
            calibration_inputs.rows,
            lambda share: progress("Measuring ranges", 0.1 + 0.3 * share),
            static=static,
            per_channel=options["per_channel"],
        )
        if not quantiser.layers:
            return {"unchanged": tflite_quantise.NOTHING}
        least = options["float_layers"]
        chosen = search(
            quantiser, calibration_inputs.rows, floor, lambda share: progress("Choosing layers", 0.4 + 0.5 * share), least
        )
        progress("Saving", 0.92)
        (target / tflite_file.NAME).write_bytes(quantiser.quantised(chosen.method, chosen.floats))
        type_messages = tflite_quantise.weight_types(target)
    if not tflite_quantise.quantised(before, tflite_file.read(target / tflite_file.NAME)):
        return {"unchanged": tflite_quantise.NOTHING}
    range_messages = (
        answer.ranges(calibration_inputs.message, len(calibration_inputs.rows), quantiser.seen) if static else []
    )
    skipped = tflite_signatures.not_compared(before)
    return {
        "messages": [*range_messages, *answer.messages(quantiser.layers, chosen, floor), *type_messages],
        "layers": answer.layers(quantiser.layers, chosen),
        "chosen": answer.chosen(chosen),
        "lost": [
            f"The signature {key[:80]!r} has text or resources as inputs or outputs, so it was not compared."
            for key in skipped
        ],
    }
