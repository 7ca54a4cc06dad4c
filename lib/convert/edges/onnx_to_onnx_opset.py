"""Converts an ONNX model to a newer or older opset of ai.onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.edges import Progress, edge

OPSETS = tuple(str(n) for n in range(7, 29))  # the newest that onnxruntime supports is known only at run time


@edge(
    "onnx",
    "onnx-opset",
    tool="onnx.version_converter, built-in downgrades",
    precision="fp32",
    seconds=1,
    error=1e-6,
    needs=("onnx", "onnxruntime"),
    options=(Option(name="opset", title="ONNX opset", kind="choice", default="17", choices=OPSETS),),
    note="For runtimes that need another opset. The model's local functions are inlined.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Raises InvalidFile for a bad source, InvalidValue for an unsupported opset, JobFailed if no conversion exists."""
    from lib.convert.formats.onnx import files as onnx_files
    from lib.convert.formats.onnx import metadata as onnx_metadata
    from lib.convert.formats.onnx.opset import convert as opset
    from lib.errors import InvalidFile, InvalidValue
    from lib.onnx_model.functions import all_nodes
    from lib.onnx_model.runtime import supported

    target_opset, newest = int(options["opset"]), supported()["opset"]
    if target_opset > newest:
        raise InvalidValue("opset", target_opset, f"7 to {newest}, the newest that the installed onnxruntime runs")
    progress("Reading the model", 0.1)
    source_opset = onnx_files.opset(onnx_files.opened(source).proto)
    model = onnx_files.tidied(source)
    if all(node.domain for node in all_nodes(model.graph.node)):
        raise InvalidFile("The model uses no operators of ai.onnx, so it has no opset to change.")
    before, metadata = onnx_files.operators(model), onnx_metadata.of(model)
    progress(f"From opset {source_opset} to {target_opset}", 0.4)
    model = opset.convert(model, target_opset)
    messages = metadata.keep(model)
    progress("Saving and checking", 0.8)
    onnx_files.loads(onnx_files.write(model, target, source))
    replaced = sorted(before.keys() - onnx_files.operators(model).keys())
    summary = (
        f"The opset is now {target_opset}; it was {source_opset}."
        if target_opset != source_opset
        else f"The opset is already {target_opset}."
    )
    messages.insert(0, summary)
    if replaced:
        messages.append(f"Decomposed into other operators: {', '.join(replaced[:12])}.")
    return {"messages": messages}
