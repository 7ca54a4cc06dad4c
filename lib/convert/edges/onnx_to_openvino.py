"""Converts ONNX to OpenVINO IR (``model.xml`` and ``model.bin``)."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.edges import Progress, edge
from lib.errors import JobFailed

UNKNOWN = re.compile(r"No conversion rule found for operations: ([^\n]+)")


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
    """Raises InvalidFile for a bad source, JobFailed if OpenVINO fails."""
    from lib.convert.formats.onnx import blind_spots as onnx_blind_spots
    from lib.convert.formats.onnx import files as onnx_files
    from lib.convert.formats.onnx import lost_weights as onnx_lost
    from lib.convert.formats.openvino import lost_weights as openvino_lost
    from lib.convert.formats.openvino import opset as openvino_opset
    from lib.convert.formats.openvino.runner import quiet

    progress("Reading the model", 0.1)
    opened = onnx_files.opened(source)
    proto = opened.proto
    graph, blind_spots = proto.graph, onnx_blind_spots.wide_integers(proto)
    openvino = quiet()
    progress("Converting", 0.3)
    with tempfile.TemporaryDirectory() as folder:
        path = source / onnx_files.NAME
        readable, opset_messages = openvino_opset.readable(source, proto)
        if readable is not None:
            path = Path(folder) / onnx_files.NAME
            onnx_files.save(readable, path)
        try:
            model = openvino.convert_model(str(path))
            initializers = {t.name for t in graph.initializer}
            _name(model.inputs, [v.name for v in graph.input if v.name not in initializers])
            _name(model.outputs, [v.name for v in graph.output])
            progress("Saving", 0.8)
            openvino.save_model(model, str(target / "model.xml"), compress_to_fp16=options["compress_to_fp16"])
            if not options["compress_to_fp16"]:
                return ({"blind_spots": blind_spots} if blind_spots else {}) | (
                    {"messages": opset_messages} if opset_messages else {}
                )
            saved = openvino.Core().read_model(str(target / "model.xml"))
            losses = openvino_lost.find_losses(model, saved, opened)
        except Exception as error:  # RuntimeErrors from C++, its own types from Python
            raise _refused(str(error) or type(error).__name__) from None
    lost, messages = onnx_lost.messages_about(losses, {t.name for t in losses})
    answer = {"messages": [*opset_messages, "The weights are stored as float16.", *messages], "precision": "fp16"}
    return answer | ({"blind_spots": blind_spots} if blind_spots else {}) | ({"lost": lost} if lost else {})


def _refused(text: str) -> JobFailed:
    """Names the operators that OpenVINO lacks, if that is the reason."""
    from lib.onnx_model.words import clean

    if unknown := UNKNOWN.search(text):
        names = ", ".join(dict.fromkeys(unknown[1].split(", ")))[:200]
        return JobFailed(f"OpenVINO does not support these operators: {names}.")
    return JobFailed(f"OpenVINO refused: {clean(text)}")


def _name(ports: list[Any], names: list[str]) -> None:
    """Gives each port the graph's own name only, since OpenVINO keeps several names per tensor."""
    for port, name in zip(ports, names, strict=True):
        port.get_tensor().set_names({name})
