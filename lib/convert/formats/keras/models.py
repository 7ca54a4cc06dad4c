"""Keras models: loaded without code of their own, described, called. Shared by the runner and the edges.

Works on either backend; the caller says which before anything imports keras, once per process.
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
    """The model, uncompiled, with ``backend`` torch or tensorflow. Raises InvalidFile for what Keras refuses."""
    # no GPU: a reference has to give the same numbers on every machine
    if "keras" not in sys.modules:
        # Keras obeys a keras.json of the home folder, which jobs share; in a new folder of this job there is none
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
        raise InvalidFile("The model does not say its inputs: build it (or make it of keras.Input) before saving it.")
    for value in (*model.inputs, *model.outputs):
        if getattr(value, "sparse", False) or getattr(value, "ragged", False) or value.shape is None:
            raise InvalidFile(f"{value.name[:80]!r} is sparse, ragged or of no known rank; only dense tensors will do.")
        if value.dtype == "string":
            raise InvalidFile(f"{value.name[:80]!r} holds text; put the text layers in front of the model, not into it.")
    return model


def signature(model: Any) -> Signature:
    """Names of Keras; the leading dimension is ``batch`` where it is free, other free ones ``name_axis``."""
    tables = _tables(model)
    inputs = []
    for tensor in model.inputs:
        name = tensor.name  # its InputLayer's, of which no two in a model are the same
        shape, dtype, role, high = _shape(name, tensor), str(tensor.dtype), "", None
        if table := tables.get(tensor.name):
            # Keras gives inputs of an Embedding the dtype float32 unless told otherwise; they are indices all the same
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
    """The layers' names where every output has a layer of its own, else numbers.

    Never the tensors' names: Keras counts those anew in every process, so they would differ from load to load.
    """
    names = [t._keras_history.operation.name for t in model.outputs]
    return names if len(set(names)) == len(names) else [f"output_{k}" for k in range(len(names))]


def half(model: Any) -> tuple[bool, list[str]]:
    """Whether the model itself computes in float16 or bfloat16 (a policy of mixed precision), and what to say of it."""
    kinds = {getattr(layer, "compute_dtype", None) for layer in model._flatten_layers(include_self=False)}
    found = sorted(kinds & {"float16", "bfloat16"})
    return bool(found), [
        f"The model computes in {kind} itself, by its dtype policy: it is judged at that precision." for kind in found
    ]


def call(model: Any, tensors: list[Any]) -> list[Any]:
    """The model in inference mode on the backend's tensors, in the order of its inputs; its outputs, flat."""
    import keras

    given = [keras.ops.cast(t, wanted.dtype) for t, wanted in zip(tensors, model.inputs, strict=True)]
    structure = getattr(model, "_inputs_struct", None)
    packed = keras.tree.pack_sequence_as(structure, given) if structure is not None else given[0]
    return keras.tree.flatten(model(packed, training=False))


def run(model: Any, inputs: dict[str, np.ndarray], known: Signature) -> dict[str, np.ndarray]:
    """Raises JobFailed where the model refuses these inputs."""
    import keras

    missing = [v.name for v in known.inputs if v.name not in inputs]
    if missing:
        raise JobFailed(f"The model did not get its inputs: {', '.join(missing)}.")
    try:
        outputs = call(model, [keras.ops.convert_to_tensor(inputs[v.name]) for v in known.inputs])
        found = [keras.ops.convert_to_numpy(o) for o in outputs]
    except Exception as error:  # the backend's own kinds
        raise JobFailed(f"Keras refuses these inputs: {clean(str(error))}") from None
    return {v.name: a for v, a in zip(known.outputs, found, strict=True)}


def module(model: Any) -> Any:
    """The model as a torch module: tensors in by position, a tuple out. Only on the torch backend."""
    import torch

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(call(self.model, list(given)))

    return Flat().eval()


def _tables(model: Any) -> dict[str, int]:
    """Inputs that an Embedding reads, directly: name -> size of the smallest table."""
    import keras

    found: dict[str, int] = {}
    wanted = {id(t): t.name for t in model.inputs}
    for layer in model._flatten_layers(include_self=False):
        if not isinstance(layer, keras.layers.Embedding):
            continue
        for node in layer._inbound_nodes:
            for tensor in node.input_tensors:
                if id(tensor) in wanted:
                    name = wanted[id(tensor)]
                    found[name] = min(layer.input_dim, found.get(name, layer.input_dim))
    return found


def _shape(name: str, tensor: Any) -> tuple[int | str, ...]:
    return tuple(
        # an identifier, since torch.export wants one
        d if d is not None else "batch" if axis == 0 else re.sub(r"\W|^(?=\d)", "_", f"{name}_{axis}")
        for axis, d in enumerate(tensor.shape)
    )
