"""A small sound file of each kind: what the hostile ones are made from, and what must be accepted.

Over 300 lines, since every kind of file has its few lines here.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from typing import Any

import flatbuffers
import h5py
import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper


def zipped(members: dict[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def unzipped(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def safetensors(header: dict[str, Any] | bytes | None = None, values: bytes = bytes(24)) -> bytes:
    if header is None:
        header = {
            "__metadata__": {"format": "pt"},
            "b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
            "w": {"dtype": "F16", "shape": [2, 4], "data_offsets": [8, 24]},
        }
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + values


def single_file() -> bytes:
    return safetensors({"model.diffusion_model.w": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}})


class Tiny(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(x))


def saved(thing: object, **how: Any) -> bytes:
    file = io.BytesIO()
    torch.save(thing, file, **how)
    return file.getvalue()


@cache
def checkpoint() -> bytes:
    return saved(Tiny().state_dict())


@cache
def old_checkpoint() -> bytes:
    return saved({"state_dict": dict(Tiny().state_dict()), "epoch": 3}, _use_new_zipfile_serialization=False)


@cache
def exported() -> bytes:
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(Tiny(), (torch.zeros(2, 4),), dynamic_shapes={"x": {0: batch}})
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()


DENSE: dict[str, Any] = {
    "module": "keras.layers",
    "class_name": "Dense",
    "config": {
        "name": "dense",
        "trainable": True,
        "dtype": {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None},
        "units": 3,
        "activation": "relu",
        "use_bias": True,
        "kernel_initializer": {
            "module": "keras.initializers",
            "class_name": "GlorotUniform",
            "config": {"seed": None},
            "registered_name": None,
        },
    },
    "registered_name": None,
    "build_config": {"input_shape": [None, 4]},
}


def keras_config(*layers: dict[str, Any], **more: Any) -> dict[str, Any]:
    start = {"module": "keras.layers", "class_name": "InputLayer", "registered_name": None}
    start["config"] = {"batch_shape": [None, 4], "dtype": "float32", "name": "input"}
    inside = {"name": "model", "trainable": True, "layers": [start, *(layers or (DENSE,))], "build_input_shape": [None, 4]}
    return {"module": "keras", "class_name": "Sequential", "config": inside, "registered_name": None} | more


def hdf5(change: Callable[[h5py.File], None] | None = None) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as weights:
        inside = weights.create_group("layers/dense/vars")
        inside["0"] = np.arange(12, dtype="f4").reshape(4, 3)
        inside["1"] = np.ones(3, "f4")
        if change is not None:
            change(weights)
    return file.getvalue()


def keras(config: dict[str, Any] | None = None, weights: bytes | None = None, **members: bytes) -> bytes:
    return zipped(
        {
            "metadata.json": json.dumps({"keras_version": "3.15.1", "date_saved": "2026-11-01@00:00:00"}),
            "config.json": json.dumps(config or keras_config()),
            "model.weights.h5": weights or hdf5(),
            **members,
        },
        zipfile.ZIP_STORED,
    )


@cache
def tflite() -> bytes:
    """y = relu(x + w) over four numbers."""

    def tensor(name: str, buffer: int) -> schema.TensorT:
        one = schema.TensorT()
        one.name, one.shape, one.type, one.buffer = name, [1, 4], schema.TensorType.FLOAT32, buffer
        return one

    operator = schema.OperatorT()
    operator.inputs, operator.outputs, operator.opcodeIndex = [0, 1], [2], 0
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU
    graph = schema.SubGraphT()
    graph.tensors = [tensor("x", 0), tensor("w", 1), tensor("y", 0)]
    graph.inputs, graph.outputs, graph.operators, graph.name = [0], [2], [operator], "main"
    model = schema.ModelT()
    model.version, model.subgraphs = 3, [graph]
    model.operatorCodes = [schema.OperatorCodeT()]
    buffers = [schema.BufferT(), schema.BufferT()]
    buffers[1].data = np.frombuffer(np.array([1, -2, 3, -4], "f4").tobytes(), np.uint8)
    model.buffers = buffers
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def part(number: int, content: bytes | str) -> bytes:
    """A length-delimited field of a protobuf."""
    data = content.encode() if isinstance(content, str) else content
    size, out = len(data), bytes([number << 3 | 2])
    while size > 127:
        out, size = out + bytes([size & 127 | 128]), size >> 7
    return out + bytes([size]) + data


def node(name: str, op: str, *inputs: str, calls: str = "") -> bytes:
    attribute = part(5, part(1, "f") + part(2, part(10, part(1, calls)))) if calls else b""
    return part(1, name) + part(2, op) + b"".join(part(3, given) for given in inputs) + attribute


def function(name: str, *nodes: bytes, attribute: str = "", argument: str = "") -> bytes:
    said = part(5, part(1, attribute) + part(2, b"")) if attribute else b""
    signature = part(1, name) + (part(2, part(1, argument)) if argument else b"")
    return part(1, part(1, signature) + b"".join(part(3, n) for n in nodes) + said)


SAVER = function("__inference__traced_save_1", node("w", "Const"), node("save", "SaveV2", "w"))
RESTORER = node("r", "RestoreV2", "file_prefix"), node("set", "AssignVariableOp", "r")
SAVER += function("__inference__traced_restore_2", *RESTORER, argument="file_prefix")


def saved_model_graph(
    *nodes: bytes,
    functions: bytes = b"",
    output: str = "call:0",
    restore: str = "restorer",
    meta: bytes = b"",
    **collections: str,
) -> bytes:
    """A model with one signature, whose output is ``output``, and a saver as TensorFlow writes it.

    ``meta``: more fields of the MetaGraphDef.
    """
    nodes = nodes or (node("x", "Placeholder"), node("call", "StatefulPartitionedCall", "x", calls="f"))
    functions = functions or function("f", node("y", "Relu", "x"))
    saver = node("saver", "StatefulPartitionedCall", calls="__inference__traced_save_1")
    restorer = node("restorer", "StatefulPartitionedCall", "f", calls="__inference__traced_restore_2")
    graph = b"".join(part(1, n) for n in (*nodes, node("f", "Placeholder"), saver, restorer)) + part(2, functions + SAVER)
    named = part(3, part(1, "f:0") + part(2, "saver:0") + part(3, restore))
    info = part(1, "y") + part(2, part(1, output))
    signature = part(1, "serving_default") + part(2, part(2, info))
    held = b"".join(part(4, part(1, k) + part(2, part(1, part(1, v)))) for k, v in collections.items())
    return b"\x08\x01" + part(2, part(2, graph) + part(5, signature) + named + held + meta)


def saved_model(graph: bytes | None = None, **members: bytes) -> bytes:
    return zipped(
        {
            "model/saved_model.pb": graph if graph is not None else saved_model_graph(),
            "model/variables/variables.index": bytes(64),
            "model/variables/variables.data-00000-of-00001": bytes(64),
            "model/fingerprint.pb": b"",
            **members,
        }
    )


PIPELINE: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "safety_checker": [None, None],
    "requires_safety_checker": False,
}


def diffusers(index: dict[str, Any] | None = None, **members: bytes) -> bytes:
    return zipped(
        {
            "pipe/model_index.json": json.dumps(index or PIPELINE),
            "pipe/unet/config.json": json.dumps({"_class_name": "UNet2DConditionModel", "_name_or_path": "/home/me/unet"}),
            "pipe/unet/diffusion_pytorch_model.safetensors": safetensors(),
            "pipe/README.md": "words",
            **members,
        }
    )


def onnx(tensor: TensorProto | None = None) -> bytes:
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in "xy"]
    held = tensor or helper.make_tensor("w", TensorProto.FLOAT, [4], [1.0, 2.0, 3.0, 4.0])
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", values[:1], values[1:], [held])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def external(location: str, **entries: str) -> bytes:
    held = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        held.external_data.add(key=key, value=value)
    return onnx(held)


def config(**more: Any) -> bytes:
    return json.dumps({"model_type": "bert", "hidden_size": 8, "architectures": ["BertModel"], **more}).encode()


def only(data: bytes) -> dict[str, bytes]:
    return {"upload": data}


# name: files, the format, what is in the artifact's folder
VALID: dict[str, tuple[Callable[[], dict[str, bytes]], str, set[str]]] = {
    "onnx": (lambda: only(onnx()), "onnx", {"model.onnx"}),
    "onnx with external data": (
        lambda: {"net.onnx": external("w.bin"), "w.bin": bytes(16), "notes.txt": b"words"},
        "onnx",
        {"model.onnx", "w.bin"},
    ),
    "onnx named last": (lambda: {"w.bin": bytes(16), "net.onnx": external("w.bin")}, "onnx", {"model.onnx", "w.bin"}),
    "safetensors": (lambda: only(safetensors()), "safetensors", {"model.safetensors"}),
    "sd-single-file": (lambda: only(single_file()), "sd-single-file", {"model.safetensors"}),
    "checkpoint": (lambda: only(checkpoint()), "checkpoint", {"model.pt"}),
    "old checkpoint": (lambda: only(old_checkpoint()), "checkpoint", {"model.pt"}),
    "pt2": (lambda: only(exported()), "pt2", {"model.pt2"}),
    "keras": (lambda: only(keras()), "keras", {"model.keras"}),
    "tflite": (lambda: only(tflite()), "tflite", {"model.tflite"}),
    "saved-model": (
        lambda: only(saved_model()),
        "saved-model",
        {
            "saved_model/saved_model.pb",
            "saved_model/variables/variables.index",
            "saved_model/variables/variables.data-00000-of-00001",
            "saved_model/fingerprint.pb",
        },
    ),
    "diffusers": (
        lambda: only(diffusers()),
        "diffusers",
        {"pipeline/model_index.json", "pipeline/unet/config.json", "pipeline/unet/diffusion_pytorch_model.safetensors"},
    ),
    "config": (lambda: {"config.json": config()}, "architecture", {"config.json"}),
    "config and weights": (
        lambda: {"model.safetensors": safetensors(), "config.json": config()},
        "architecture",
        {"config.json", "weights.safetensors"},
    ),
}
