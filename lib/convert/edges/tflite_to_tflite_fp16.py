"""TensorFlow Lite with float16 weights, which the runtime widens again: AI Edge Quantizer, float casting."""

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
    from ai_edge_quantizer import qtyping, recipe

    from lib.convert import tflite_quantise

    progress("Reading the file", 0.1)
    quantiser = tflite_quantise.quantiser(source)
    halves = qtyping.OpQuantizationConfig(
        weight_tensor_config=qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT),
        compute_precision=qtyping.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )
    progress("Casting weights", 0.4)
    try:
        quantiser.update_quantization_recipe(
            ".*", qtyping.TFLOperationName.ALL_SUPPORTED, halves, recipe.AlgorithmName.FLOAT_CASTING
        )
        made = quantiser.quantize(enable_progress_report=False)
    except Exception as error:
        raise tflite_quantise.refused(error) from None
    return {"messages": tflite_quantise.save(made, target)}
