"""ONNX -> ONNX with int8 weights; activations are quantised as they come, so no calibration is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.edges import Option, Progress, edge


@edge(
    "onnx",
    "onnx-int8-dynamic",
    tool="onnxruntime.quantization.quantize_dynamic",
    precision="int8",
    seconds=2,
    error=3e-2,
    needs=("onnxruntime",),
    options=(Option(name="per_channel", title="One scale per channel (more exact)", kind="bool", default=False),),
    note="A quarter of the size. Good for transformers and linear layers; for pictures take the calibrated one.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Raises InvalidFile for a bad source, JobFailed where the tool refuses or its model does not load."""
    import tempfile

    from onnxruntime.quantization import QuantType, quantize_dynamic

    from lib.convert import onnx_quantise

    with tempfile.TemporaryDirectory() as folder:
        progress("Preparing the model", 0.1)
        path, messages = onnx_quantise.prepare(source, Path(folder))
        made = Path(folder) / "quantised.onnx"
        progress("Quantising", 0.5)
        try:
            with onnx_quantise.quiet():
                # unsigned: see onnx_quantise; onnxruntime's ConvInteger takes nothing else
                quantize_dynamic(path, made, per_channel=options["per_channel"], weight_type=QuantType.QUInt8)
        except Exception as error:  # asserts, KeyErrors and the like on graphs it does not expect
            raise onnx_quantise.refused(error) from None
        progress("Saving", 0.9)
        return {"messages": messages + onnx_quantise.finish(made, target)}
