"""Converts a JAX example to ONNX with jax2onnx, with a dynamic batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.edges import Progress, edge


@edge(
    "jax",
    "onnx",
    tool="jax2onnx.to_onnx",
    precision="fp32",
    seconds=20,
    error=2e-7,
    needs=("jax", "jax2onnx"),
    note="One of the examples here. For a function of your own, export it with jax2onnx and upload the ONNX file.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any] | None:
    """Raises InvalidFile or InvalidValue for an unknown example, JobFailed if jax2onnx fails."""
    from lib.convert.formats.jax.runner import example

    jax_example = example(source)
    progress("Starting JAX", 0.1)
    from jax2onnx import to_onnx

    from lib.convert.core.tool_messages import sanitize_message
    from lib.convert.formats.onnx import files as onnx_files
    from lib.errors import JobFailed

    progress("Tracing and converting", 0.4)
    try:
        model = to_onnx(
            jax_example.function,
            inputs=[jax_example.shape],
            model_name=jax_example.input,
            input_names=[jax_example.input],
            output_names=[jax_example.output],
        )
    except Exception as error:  # jax's and those of the converter's plugins
        raise JobFailed(f"jax2onnx refused: {sanitize_message(error)}") from None
    progress("Saving", 0.9)
    onnx_files.loads(onnx_files.write(model, target))
    return None
