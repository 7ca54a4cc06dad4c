"""Casts TensorFlow Lite weights to float16 with AI Edge Quantizer; the runtime widens them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.edges import Progress, edge


@edge(
    "tflite",
    "tflite-fp16",
    tool="ai-edge-quantizer",
    precision="fp16",
    seconds=2,
    error=3e-3,
    needs=("ai_edge_quantizer", "ai_edge_litert"),
    note="Half the size; inputs, outputs and, on a CPU, the arithmetic stay float32.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Keeps every signature of the file. Raises JobFailed if the tool fails."""
    import tempfile

    from lib.tflite import codes as tflite_codes
    from lib.tflite import file as tflite_file
    from lib.tflite import signatures as tflite_signatures
    from lib.tflite import weights as tflite_weights

    progress("Reading the file", 0.1)
    before = tflite_file.read(source / tflite_file.NAME)
    if reason := tflite_weights.why_already_quantised(before):
        return {"unchanged": f"{reason} float16 would save nothing."}
    with tempfile.TemporaryDirectory() as scratch:
        folder = source
        if tflite_codes.is_outdated(before):
            folder = Path(scratch)
            tflite_codes.upgrade_operator_codes(source / tflite_file.NAME, folder / tflite_file.NAME)
        progress("Casting weights", 0.4)
        messages = _cast(folder, target)
    after = tflite_file.read(target / tflite_file.NAME)
    if not tflite_weights.stored_bytes(after).get(tflite_weights.FLOAT16):
        return {"unchanged": "No weight became float16: the tool only casts weights of convolutions and dense layers."}
    skipped = tflite_signatures.not_compared(before)
    lost = [
        f"The signature {key[:80]!r} has text or resources as inputs or outputs, so it was not compared." for key in skipped
    ]
    return {"messages": messages, "lost": tflite_weights.cut(before, after) + lost}


def _cast(source: Path, target: Path) -> list[str]:
    from ai_edge_quantizer import qtyping, recipe

    from lib.convert.tools import tflite_quantise

    quantiser = tflite_quantise.quantiser(source)
    halves = qtyping.OpQuantizationConfig(
        weight_tensor_config=qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT),
        compute_precision=qtyping.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )
    try:
        quantiser.update_quantization_recipe(
            ".*", qtyping.TFLOperationName.ALL_SUPPORTED, halves, recipe.AlgorithmName.FLOAT_CASTING
        )
        result = quantiser.quantize(enable_progress_report=False)
    except Exception as error:
        raise tflite_quantise.failure(error) from None
    return tflite_quantise.save(result, target)
