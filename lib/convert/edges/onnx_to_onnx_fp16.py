"""ONNX -> ONNX with float16 weights and arithmetic (onnxruntime.transformers.float16)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.edges import Option, Progress, edge

HIGHEST, LOWEST = 65504.0, 5.96e-8  # of float16: the largest number, the smallest above zero


@edge(
    "onnx",
    "onnx-fp16",
    tool="onnxruntime.transformers.float16",
    precision="fp16",
    seconds=1,
    error=3e-3,
    needs=("onnxruntime",),
    options=(Option(name="keep_io_types", title="Keep float32 inputs and outputs", kind="bool", default=True),),
    note="Half the size. On a CPU often slower: most kernels compute in float32 there.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Raises InvalidFile for a bad source, JobFailed where the tool refuses or its model does not load."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    from lib.convert import feeds, onnx_doubts, onnx_files
    from lib.convert.runners.onnx import OnnxRunner
    from lib.errors import JobFailed
    from lib.onnx_model.words import clean

    progress("Reading the model", 0.1)
    model = onnx_files.inlined(onnx_files.read(source))
    lost = _lost(model)
    progress("Looking for values that float16 cannot hold", 0.2)
    cases = [case.arrays for case in feeds.cases(OnnxRunner(source).signature()) if case.kind in ("ordinary", "large")]
    doubts = onnx_doubts.over_float16(model, cases)
    _constants_as_tensors(model)
    progress("Converting to float16", 0.4)
    try:
        small = OnnxModel(convert_float_to_float16(model, keep_io_types=options["keep_io_types"]))
        small.topological_sort()
    except Exception as error:  # asserts, KeyErrors and the like on graphs it does not expect
        raise JobFailed(f"The float16 converter refused: {clean(str(error)) or type(error).__name__}") from None
    progress("Saving", 0.8)
    path = onnx_files.write(small.model, target)
    onnx_files.loads(path)
    kept = sum(t.data_type == 1 for t in small.model.graph.initializer)
    return {
        "doubts": doubts,
        "messages": lost + ([f"{kept} weights stay float32: their operators have no float16 form."] if kept else []),
    }


def _lost(model: Any) -> list[str]:
    """What float16 cannot hold, in words."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    over = under = 0
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            size = np.abs(numpy_helper.to_array(tensor))
            over += int(((size > HIGHEST) & np.isfinite(size)).sum())
            under += int(((size < LOWEST) & (size > 0)).sum())
    words = []
    if over:
        words.append(f"{over} weights are larger than float16's 65504 and were cut to it.")
    if under:
        words.append(f"{under} weights are smaller than float16's smallest number and became {LOWEST}.")
    return words


def _constants_as_tensors(model: Any) -> None:
    """Constants written as ``value_float`` would stay float32: the tool looks at tensors only."""
    import numpy as np
    from onnx import helper, numpy_helper

    from lib.onnx_model.functions import every

    for node in every(model.graph.node):
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name in ("value_float", "value_floats"):
            found = node.attribute[0]
            value = np.array(found.f if found.name == "value_float" else list(found.floats), np.float32)
            node.attribute[0].CopyFrom(helper.make_attribute("value", numpy_helper.from_array(value)))
