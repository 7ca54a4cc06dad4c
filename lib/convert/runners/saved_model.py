"""Runs TensorFlow SavedModels, by their default serving signature. Only where TensorFlow is: its own environment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lib.convert import saved_model_file
from lib.convert.runners import Arrays
from lib.errors import InvalidFile, JobFailed
from lib.model_inputs.signature import Signature, Value
from lib.onnx_model.words import clean
from lib.settings import prepare_library


class SavedModelRunner:
    """``folder`` holds ``saved_model/``. Names and dtypes are the signature's; outputs are sorted by name."""

    def __init__(self, folder: Path) -> None:
        self._loaded, self._function = load(folder)
        self._signature = signature(self._function)

    def signature(self) -> Signature:
        return self._signature

    def run(self, inputs: Arrays) -> Arrays:
        """Raises JobFailed where TensorFlow refuses these inputs."""
        import tensorflow as tf

        missing = [v.name for v in self._signature.inputs if v.name not in inputs]
        if missing:
            raise JobFailed(f"The model did not get its inputs: {', '.join(missing)}.")
        try:
            found = self._function(**{v.name: tf.constant(inputs[v.name]) for v in self._signature.inputs})
        except Exception as error:  # TensorFlow's many kinds
            raise JobFailed(f"TensorFlow refuses these inputs: {clean(str(error))}") from None
        return {v.name: found[v.name].numpy() for v in self._signature.outputs}

    def close(self) -> None:
        self._loaded = self._function = None


def load(folder: Path) -> tuple[Any, Any]:
    """The loaded object, which must be kept, and its function. Raises InvalidFile."""
    prepare_library(CUDA_VISIBLE_DEVICES="", TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0")
    path = saved_model_file.checked(folder)
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow's many kinds
        raise InvalidFile(f"TensorFlow cannot load this SavedModel: {clean(str(error))}") from None
    return loaded, saved_model_file.signature_of(loaded)


def signature(function: Any) -> Signature:
    """Of a signature's function. The leading dimension is ``batch`` where it is free."""

    def value(name: str, tensor: Any) -> Value:
        if tensor.shape.rank is None:
            raise InvalidFile(f"The SavedModel does not say the rank of {name[:80]!r}. Export it with shapes.")
        if tensor.dtype.name in ("string", "resource", "variant"):
            raise InvalidFile(
                f"{name[:80]!r} is a {tensor.dtype.name}; only models that take and give numbers are converted."
            )
        shape = tuple(
            d if d is not None else "batch" if axis == 0 else re.sub(r"\W|^(?=\d)", "_", f"{name}_{axis}")
            for axis, d in enumerate(tensor.shape.as_list())
        )
        return Value(name, tensor.dtype.name, shape)

    _, given = function.structured_input_signature
    inputs = []
    for name in sorted(given, key=saved_model_file.natural):
        plain = value(name, given[name])
        picture = plain.dtype == "float32" and len(plain.shape) == 4 and {plain.shape[1], plain.shape[3]} & {1, 3}
        inputs.append(Value(plain.name, plain.dtype, plain.shape, "image" if picture else ""))
    found = function.structured_outputs
    outputs = tuple(value(name, found[name]) for name in sorted(found, key=saved_model_file.natural))
    return Signature(tuple(inputs), outputs)
