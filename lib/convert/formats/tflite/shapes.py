"""Corrects the tensor shapes stored in a TensorFlow Lite file; some exporters leave dimensions at 1.

tf2onnx trusts the stored shapes, so a wrong shape becomes a wrong model. Needs ai_edge_litert.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lib.tflite import file as tflite_file
from lib.tflite.runner import refused


def write_actual_shapes(source: Path, target: Path) -> None:
    """Writes a copy of the verified file ``source`` with the shapes that its tensors have at run time.

    All inputs must have static shapes. Raises JobFailed if the interpreter cannot run the file.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    try:
        interpreter = Interpreter(
            model_path=str(source),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        interpreter.allocate_tensors()
        for details in interpreter.get_input_details():
            interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
        interpreter.invoke()  # some shapes are only known after a run
        shapes = {d["index"]: [int(n) for n in d["shape"]] for d in interpreter.get_tensor_details()}
    except (ValueError, RuntimeError) as error:
        raise refused(error, "The LiteRT interpreter cannot run this file") from None
    model: Any = schema.ModelT.InitFromPackedBuf(source.read_bytes(), 0)
    for number, tensor in enumerate(model.subgraphs[0].tensors):
        shape = shapes.get(number)
        if shape and tensor.shape is not None and len(shape) == len(tensor.shape):
            tensor.shape, tensor.shapeSignature = shape, None
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), tflite_file.IDENTIFIER)
    target.write_bytes(builder.Output())
    tflite_file.read(target)
