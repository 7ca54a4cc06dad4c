"""ONNX -> OpenVINO IR (``model.xml`` and ``model.bin``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.edges import Option, Progress, edge


@edge(
    "onnx",
    "openvino",
    tool="openvino.convert_model",
    precision="fp32",
    seconds=3,
    error=4e-6,
    needs=("openvino",),
    options=(Option(name="compress_to_fp16", title="Store weights as float16", kind="bool", default=False),),
    note="For Intel's OpenVINO runtime. Dynamic dimensions stay.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Raises InvalidFile for a bad source, JobFailed where OpenVINO refuses."""
    from lib.convert import onnx_doubts, onnx_files
    from lib.convert.runners.openvino import quiet
    from lib.errors import JobFailed
    from lib.onnx_model.words import clean

    progress("Reading the model", 0.1)
    proto = onnx_files.opened(source).proto
    graph, doubts = proto.graph, onnx_doubts.wide_integers(proto)
    openvino = quiet()
    progress("Converting", 0.3)
    try:
        model = openvino.convert_model(str(source / onnx_files.NAME))
        held = {t.name for t in graph.initializer}
        _name(model.inputs, [v.name for v in graph.input if v.name not in held])
        _name(model.outputs, [v.name for v in graph.output])
        progress("Saving", 0.8)
        openvino.save_model(model, str(target / "model.xml"), compress_to_fp16=options["compress_to_fp16"])
    except Exception as error:  # RuntimeErrors of its C++ part, its own in Python
        raise JobFailed(f"OpenVINO refused: {clean(str(error)) or type(error).__name__}") from None
    if not options["compress_to_fp16"]:
        return {"doubts": doubts} if doubts else {}
    said = {"messages": ["The weights are stored as float16."], "precision": "fp16"}
    return said | ({"doubts": doubts} if doubts else {})


def _name(ports: list[Any], names: list[str]) -> None:
    """OpenVINO keeps several names for one tensor; the graph's own is the one to be known by."""
    for port, name in zip(ports, names, strict=True):
        port.get_tensor().set_names({name})
