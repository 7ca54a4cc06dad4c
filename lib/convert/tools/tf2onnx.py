"""Calls tf2onnx, and gives its models the source's names and dynamic dimensions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.core.tool_messages import sanitize_message
from lib.convert.formats.onnx.names import every_name, rename, unused
from lib.errors import JobFailed
from lib.model_inputs.signature import Signature, dtype
from lib.settings import prepare_library


def from_function(function: Any, wanted: list[Any], opset: int) -> Any:
    """Converts a tf.function with the input signature ``wanted`` to ONNX. Raises JobFailed with tf2onnx's message."""
    tf2onnx = _imported()
    try:
        model, _ = tf2onnx.convert.from_function(function, input_signature=wanted, opset=opset)
    except Exception as error:  # tf2onnx's and TensorFlow's many error types
        raise _refused(error) from None
    return model


def from_tflite(path: Path, opset: int) -> Any:
    """Converts a TensorFlow Lite file to an ONNX model. Raises JobFailed with tf2onnx's message."""
    tf2onnx = _imported()
    try:
        model, _ = tf2onnx.convert.from_tflite(str(path), opset=opset)
    except Exception as error:
        raise _refused(error) from None
    _fix_operators(model.graph)
    return model


def _fix_operators(graph: Any) -> None:
    """Rewrites TensorFlow Lite operators that tf2onnx 1.17 leaves unconverted, in place."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    constants = {t.name: t for t in graph.initializer}
    constants |= {
        n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant" and n.attribute[0].name == "value"
    }
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}
    used_names, nodes = every_name(graph), []

    def constant(stem: str, value: Any) -> str:
        name = unused(stem, used_names)
        used_names.add(name)
        graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    bounds: list[str] = []
    for node in graph.node:
        nodes.append(node)
        if node.op_type == "TFL_RELU_0_TO_1":
            bounds = bounds or [constant(f"relu_{stem}", np.float32(v)) for stem, v in (("low", 0), ("high", 1))]
            node.CopyFrom(helper.make_node("Clip", [node.input[0], *bounds], node.output, node.name))
        elif node.op_type == "TopK" and node.input[1] in constants and not constants[node.input[1]].dims:
            number = numpy_helper.to_array(constants[node.input[1]]).astype("int64").reshape(1)
            node.input[1] = constant(f"{node.output[0]}_k", number)
        elif node.op_type in ("ArgMax", "ArgMin") and len(node.input) == 2 and node.input[1] in constants:
            axis = int(numpy_helper.to_array(constants[node.input[1]]).reshape(-1)[0])  # the axis may come as a list of one
            output = node.output[0]
            if kinds.get(output) == TensorProto.INT32:
                wide_name = unused(f"{output}_int64", used_names)
                used_names.add(wide_name)
                nodes.append(helper.make_node("Cast", [wide_name], [output], f"{output}_cast", to=TensorProto.INT32))
                output = wide_name
            node.CopyFrom(helper.make_node(node.op_type, node.input[:1], [output], node.name, axis=axis, keepdims=0))
    del graph.node[:]
    graph.node.extend(nodes)


def name(model: Any, inputs: dict[str, str], outputs: dict[str, str], signature: Signature) -> None:
    """Renames inputs, outputs and dynamic dimensions as in ``signature``, and puts them in its order.

    ``inputs`` and ``outputs``: tf2onnx's names -> the signature's. Adds inputs that the model does not use. Raises JobFailed
    if tf2onnx lost an output, changed an input's dtype or added an input.
    """
    from onnx import helper

    rename(model.graph, inputs | outputs)
    old_inputs = {v.name: v for v in model.graph.input}
    old_outputs = {v.name: v for v in model.graph.output}
    if missing := [v.name for v in signature.outputs if v.name not in old_outputs]:
        raise JobFailed(f"tf2onnx lost the outputs {', '.join(missing)[:200]}.")
    ins = []
    for value in signature.inputs:
        kind = helper.np_dtype_to_tensor_dtype(_dtype(value.dtype))
        ins.append(helper.make_tensor_value_info(value.name, kind, value.shape))
        if value.name in old_inputs and old_inputs[value.name].type.tensor_type.elem_type != kind:
            raise JobFailed(f"tf2onnx changed the dtype of the input {value.name[:80]!r}.")
    if extra := set(old_inputs) - {v.name for v in ins}:
        raise JobFailed(f"tf2onnx added inputs that the model does not have: {', '.join(sorted(extra))[:200]}.")
    outs = []
    for value in signature.outputs:
        end = old_outputs[value.name]
        outs.append(helper.make_tensor_value_info(value.name, end.type.tensor_type.elem_type, value.shape))
    del model.graph.input[:], model.graph.output[:], model.graph.value_info[:]
    model.graph.input.extend(ins)
    model.graph.output.extend(outs)


def _dtype(name: str) -> Any:
    return dtype(name)


def _imported() -> Any:
    prepare_library(CUDA_VISIBLE_DEVICES="", TF_CPP_MIN_LOG_LEVEL="3")
    import tf2onnx
    from keras.src.export.tf2onnx_lib import patch_tf2onnx

    patch_tf2onnx()  # tf2onnx 1.17 folds constants with functions that numpy 2 removed
    return tf2onnx


def _refused(error: Exception) -> JobFailed:
    return JobFailed(f"tf2onnx gave up: {sanitize_message(error)}")
