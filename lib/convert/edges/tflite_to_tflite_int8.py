"""TensorFlow Lite with int8 weights, and int8 arithmetic where ranges are calibrated: AI Edge Quantizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.edges import Option, Progress, edge

DYNAMIC, STATIC = "dynamic (ranges while it runs)", "static (calibrated ranges)"


@edge(
    "tflite",
    "tflite-int8",
    tool="ai-edge-quantizer",
    precision="int8",
    seconds=4,
    error=5e-2,
    needs=("ai_edge_quantizer", "ai_edge_litert"),
    options=(
        Option(name="activations", title="Activations", kind="choice", default=DYNAMIC, choices=(DYNAMIC, STATIC)),
        Option(
            name="calibration",
            title="Calibration data for static ranges (.npz: arrays by input name, first axis samples)",
            kind="file",
        ),
        Option(name="samples", title="Random samples where no file is given", kind="int", default=32, low=1, high=512),
    ),
    note="A quarter of the size. Inputs and outputs stay float32.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Raises InvalidFile for a bad source or calibration file, JobFailed where the tool refuses."""
    from ai_edge_quantizer import qtyping, recipe

    from lib.convert import tflite_quantise

    progress("Reading the file", 0.1)
    quantiser = tflite_quantise.quantiser(source)
    if options["activations"] == DYNAMIC:
        said = ["The calibration file was not used: dynamic ranges need none."] if options["calibration"] else []
        quantiser.load_quantization_recipe(recipe.dynamic_wi8_afp32())
        samples = None
    else:
        samples, said = _samples(source, options)
        quantiser.load_quantization_recipe(recipe.static_wi8_ai8())
        for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            quantiser.update_quantization_recipe(".*", end, algorithm_key=recipe.AlgorithmName.NO_QUANTIZE)
    try:
        measured = None
        if samples is not None:
            progress("Calibrating", 0.3)
            measured = _ranges(quantiser, samples)
        progress("Quantising", 0.7)
        made = quantiser.quantize(measured, enable_progress_report=False)
    except Exception as error:
        raise tflite_quantise.refused(error) from None
    return {"messages": said + tflite_quantise.save(made, target)}


def _samples(source: Path, options: dict[str, Any]) -> tuple[dict[str, list[Any]], list[str]]:
    """Samples by the signature that the quantizer runs, and what to say about them."""
    from lib.convert import calibration, tflite_file
    from lib.convert.runners.tflite import TfliteRunner
    from lib.errors import JobFailed

    runner = TfliteRunner(source)
    described = runner.signature()
    runner.close()
    keys = [s["key"] for s in tflite_file.read(source / tflite_file.NAME)["signature_defs"]]
    if not keys:
        raise JobFailed("Static ranges need a file with a signature, and this one has none. Choose dynamic ranges.")
    if options["calibration"]:
        samples = calibration.from_npz(Path(options["calibration"]), described)
        said = f"Calibrated on {len(samples)} samples of the given file."
    else:
        samples = calibration.made(described, options["samples"])
        said = (
            f"Calibrated on {len(samples)} samples of random numbers, because no calibration file was given. "
            "The ranges fit random numbers, not real inputs: give samples of real inputs before using this model."
        )
    key = "serving_default" if "serving_default" in keys else keys[0]
    return {key: samples}, [said]


def _ranges(quantiser: Any, samples: dict[str, list[Any]]) -> dict[str, Any]:
    """What every tensor reaches over all samples. The tool's own result is a moving average, which cuts peaks off."""
    import numpy as np

    whole: dict[str, Any] = {}
    for key, some in samples.items():
        for sample in some:
            for name, found in quantiser.calibrate({key: [sample]}, num_threads=1).items():
                known = whole.setdefault(name, dict(found))
                known["min"] = np.minimum(known["min"], found["min"])
                known["max"] = np.maximum(known["max"], found["max"])
    return whole
