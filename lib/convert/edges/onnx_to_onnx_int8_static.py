"""ONNX -> ONNX with int8 weights and activations, whose ranges are measured on calibration data (QDQ)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.edges import Option, Progress, edge


@edge(
    "onnx",
    "onnx-int8-static",
    tool="onnxruntime.quantization.quantize_static",
    precision="int8",
    seconds=4,
    error=5e-2,
    needs=("onnxruntime",),
    options=(
        Option(name="calibration", title="Calibration data (.npz: arrays by input name, first axis samples)", kind="file"),
        Option(name="samples", title="Random samples where no file is given", kind="int", default=64, low=1, high=512),
        Option(name="per_channel", title="One scale per channel (more exact)", kind="bool", default=False),
    ),
    note="A quarter of the size. Give samples of real inputs: ranges from random numbers do not fit real ones.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Raises InvalidFile for a bad source or calibration file, JobFailed where the tool refuses."""
    import tempfile

    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    from lib.convert import calibration, onnx_files, onnx_quantise
    from lib.onnx_model.signature import signature

    described = signature(onnx_files.opened(source).proto)
    if options["calibration"]:
        samples = calibration.from_npz(Path(options["calibration"]), described)
        said = f"Calibrated on {len(samples)} samples of the given file."
    else:
        samples = calibration.made(described, options["samples"])
        said = (
            f"Calibrated on {len(samples)} samples of random numbers, because no calibration file was given. "
            "The ranges fit random numbers, not real inputs: give samples of real inputs before using this model."
        )
    with tempfile.TemporaryDirectory() as folder:
        progress("Preparing the model", 0.1)
        path, messages = onnx_quantise.prepare(source, Path(folder))
        made = Path(folder) / "quantised.onnx"
        progress("Calibrating and quantising", 0.3)
        try:
            with onnx_quantise.quiet():
                quantize_static(
                    str(path),
                    str(made),
                    calibration.Reader(samples, lambda share: progress("Calibrating", 0.3 + 0.5 * share)),
                    quant_format=QuantFormat.QDQ,
                    per_channel=options["per_channel"],
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QUInt8,  # see onnx_quantise
                    nodes_to_exclude=onnx_quantise.scores(path),
                )
        except Exception as error:  # asserts, KeyErrors and the like on graphs it does not expect
            raise onnx_quantise.refused(error) from None
        progress("Saving", 0.9)
        return {"messages": [said, *messages, *onnx_quantise.finish(made, target)]}
