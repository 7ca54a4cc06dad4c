"""ONNX -> the same model at another opset of ai.onnx, up or down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.edges import Progress, edge

OPSETS = tuple(str(n) for n in range(7, 29))  # onnxruntime says at run time whether it knows the newest


@edge(
    "onnx",
    "onnx-opset",
    tool="onnx.version_converter, built-in downgrades",
    precision="fp32",
    seconds=1,
    error=1e-6,
    needs=("onnx", "onnxruntime"),
    options=(Option(name="opset", title="ONNX opset", kind="choice", default="17", choices=OPSETS),),
    note="For runtimes that want another opset. Own functions of the model are inlined.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Raises InvalidFile for a bad source, InvalidValue for an opset nobody here can run, JobFailed where one is no way."""
    from lib.convert.formats.onnx import files as onnx_files
    from lib.convert.formats.onnx import metadata as onnx_metadata
    from lib.convert.formats.onnx.opset import convert as opset
    from lib.errors import InvalidFile, InvalidValue
    from lib.onnx_model.functions import all_nodes
    from lib.onnx_model.runtime import supported

    wanted, newest = int(options["opset"]), supported()["opset"]
    if wanted > newest:
        raise InvalidValue("opset", wanted, f"7 to {newest}, the newest that the installed onnxruntime runs")
    progress("Reading the model", 0.1)
    found = onnx_files.opset(onnx_files.opened(source).proto)
    model = onnx_files.tidied(source)
    if all(node.domain for node in all_nodes(model.graph.node)):
        raise InvalidFile("The model uses no operators of ai.onnx, so it has no opset to change.")
    before, metadata = onnx_files.operators(model), onnx_metadata.of(model)
    progress(f"From opset {found} to {wanted}", 0.4)
    model = opset.convert(model, wanted)
    messages = metadata.keep(model)
    progress("Saving and checking", 0.8)
    onnx_files.loads(onnx_files.write(model, target, source))
    gone = sorted(before.keys() - onnx_files.operators(model).keys())
    said = f"The opset is {wanted} now; it was {found}." if wanted != found else f"The opset is {wanted} already."
    messages.insert(0, said)
    if gone:
        messages.append(f"Written out in other operators: {', '.join(gone[:12])}.")
    return {"messages": messages}
