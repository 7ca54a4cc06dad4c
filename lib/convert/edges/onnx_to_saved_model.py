"""Converts ONNX to a TensorFlow SavedModel with onnx2tf, whose operators run on TensorFlow's; needs no torch."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from lib.convert.edges import Progress, edge


@edge(
    "onnx",
    "saved-model",
    tool="onnx2tf, tf.saved_model",
    precision="fp32",
    seconds=30,
    error=3e-6,
    environment="tensorflow",
    note="Inputs and outputs keep the axis order of the ONNX model (such as channels first).",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    from lib.convert.formats.saved_model.check import FOLDER, checked
    from lib.convert.formats.saved_model.graph import GRAPH
    from lib.convert.tools import onnx2tf as onnx2tf_tool
    from lib.convert.tools import onnx2tf_kernels
    from lib.errors import JobFailed
    from lib.settings import prepare_library

    prepare_library(CUDA_VISIBLE_DEVICES="", TF_CPP_MIN_LOG_LEVEL="3")
    progress("Converting with onnx2tf", 0.2)
    onnx2tf_kernels.add()
    with onnx2tf_tool.converted(source, {}, flatbuffer_direct_output_saved_model=True) as (folder, messages):
        graphs = sorted(folder.rglob(GRAPH))
        if len(graphs) != 1:
            raise JobFailed("onnx2tf wrote no SavedModel for this model.")
        shutil.move(graphs[0].parent, target / FOLDER)
    progress("Checking the SavedModel", 0.9)
    checked(target)
    return {"messages": messages}
