"""Loads, describes and calls Keras models, without code from the file. Shared by the runner and the conversions.

Works with the torch and the TensorFlow backend; the first ``load`` of a process chooses it, before keras is imported.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InvalidFile, JobFailed
from lib.model_inputs.signature import Signature, Value
from lib.onnx_model.words import clean
from lib.settings import prepare_library

NAME = "model.keras"
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def load(folder: Path, backend: str) -> Any:
    """Loads the model uncompiled; ``backend``: ``torch`` or ``tensorflow``. Raises InvalidFile if it cannot be used."""
    # CPU only: a reference must give the same numbers on every machine
    if "keras" not in sys.modules:
        # Keras reads keras.json in its home folder, which jobs would share; a fresh folder has none
        prepare_library(KERAS_HOME=tempfile.mkdtemp(prefix="keras-"))
    prepare_library(KERAS_BACKEND=backend, CUDA_VISIBLE_DEVICES="", TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0")
    import keras

    assert keras.backend.backend() == backend, "keras was imported before, with another backend"
    path = folder / NAME
    if not path.is_file():
        raise InvalidFile(f"There is no {NAME} in this artifact.")
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its layers raise
        raise InvalidFile(f"Keras cannot load this file: {clean(str(error))}") from None
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise InvalidFile("The model does not define its inputs: build it (or start it from keras.Input) before saving it.")
    for value in (*model.inputs, *model.outputs):
        if getattr(value, "sparse", False) or getattr(value, "ragged", False) or value.shape is None:
            raise InvalidFile(f"{value.name[:80]!r} is sparse, ragged or of unknown rank; only dense tensors are supported.")
        if value.dtype == "string":
            raise InvalidFile(
                f"{value.name[:80]!r} holds text; move the text layers out of the model and run them before it."
            )
    return model


def signature(model: Any) -> Signature:
    """Returns the model's signature with Keras' names; dynamic dimensions are ``batch`` (axis 0) or ``name_axis``."""
    tables = _tables(model)
    inputs = []
    for tensor in model.inputs:
        name = tensor.name  # the name of its InputLayer, unique in the model
        shape, dtype, role, high = _shape(name, tensor), str(tensor.dtype), "", None
        if table := tables.get(tensor.name):
            # Keras defaults inputs of an Embedding to float32, although they are indices
            dtype = dtype if dtype in INTEGERS else "int32"
            role, high = "tokens" if len(shape) == 2 else "index", table
        elif len(shape) == 4 and dtype.startswith("float") and (shape[3] in (1, 3) or shape[1] in (1, 3)):
            role = "image"
        elif "mask" in name and len(shape) == 2:
            role = "mask"
        inputs.append(Value(name, dtype, shape, role, high))
    names = output_names(model)
    outputs = (Value(n, str(t.dtype), _shape(n, t)) for n, t in zip(names, model.outputs, strict=True))
    return Signature(tuple(inputs), tuple(outputs))


def output_names(model: Any) -> list[str]:
    """Returns the names of the output layers if they are distinct, else ``output_0`` and so on.

    Tensor names are not stable: Keras numbers them per process.
    """
    names = [t._keras_history.operation.name for t in model.outputs]
    return names if len(set(names)) == len(names) else [f"output_{k}" for k in range(len(names))]


def half(model: Any) -> tuple[bool, list[str]]:
    """Returns whether the model computes in float16 or bfloat16 (mixed precision policy), and messages about it."""
    compute_dtypes = {getattr(layer, "compute_dtype", None) for layer in model._flatten_layers(include_self=False)}
    precisions = sorted(compute_dtypes & {"float16", "bfloat16"})
    return bool(precisions), [
        f"The model's dtype policy makes it compute in {kind}: it is judged at that precision." for kind in precisions
    ]


def call(model: Any, tensors: list[Any]) -> list[Any]:
    """Calls the model in inference mode on backend tensors, in the order of its inputs; returns flat outputs."""
    import keras

    cast_tensors = [keras.ops.cast(t, spec.dtype) for t, spec in zip(tensors, model.inputs, strict=True)]
    structure = getattr(model, "_inputs_struct", None)
    arguments = keras.tree.pack_sequence_as(structure, cast_tensors) if structure is not None else cast_tensors[0]
    return keras.tree.flatten(model(arguments, training=False))


def run(model: Any, inputs: dict[str, np.ndarray], known: Signature) -> dict[str, np.ndarray]:
    """Runs the model on arrays by name; ``known`` is its signature. Raises JobFailed if it rejects the inputs."""
    import keras

    missing = [v.name for v in known.inputs if v.name not in inputs]
    if missing:
        raise JobFailed(f"Missing inputs: {', '.join(missing)}.")
    try:
        outputs = call(model, [keras.ops.convert_to_tensor(inputs[v.name]) for v in known.inputs])
        arrays = [keras.ops.convert_to_numpy(o) for o in outputs]
    except Exception as error:  # the backend's own errors
        raise JobFailed(f"Keras refuses these inputs: {clean(str(error))}") from None
    return {v.name: a for v, a in zip(known.outputs, arrays, strict=True)}


def module(model: Any) -> Any:
    """Wraps the model in a torch module with positional inputs and a tuple of outputs. Torch backend only."""
    import torch

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(call(self.model, list(given)))

    return Flat().eval()


def _tables(model: Any) -> dict[str, int]:
    """Returns inputs read directly by an Embedding: name -> rows of the smallest table."""
    import keras

    sizes: dict[str, int] = {}
    input_names = {id(t): t.name for t in model.inputs}
    for layer in model._flatten_layers(include_self=False):
        if not isinstance(layer, keras.layers.Embedding):
            continue
        for node in layer._inbound_nodes:
            for tensor in node.input_tensors:
                if id(tensor) in input_names:
                    name = input_names[id(tensor)]
                    sizes[name] = min(layer.input_dim, sizes.get(name, layer.input_dim))
    return sizes


def _shape(name: str, tensor: Any) -> tuple[int | str, ...]:
    return tuple(
        # torch.export requires an identifier
        d if d is not None else "batch" if axis == 0 else re.sub(r"\W|^(?=\d)", "_", f"{name}_{axis}")
        for axis, d in enumerate(tensor.shape)
    )
