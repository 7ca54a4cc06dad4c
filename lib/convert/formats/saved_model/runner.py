"""Runs TensorFlow SavedModels by their signatures. Needs the separate environment that has TensorFlow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lib.convert.core import signatures
from lib.convert.core.runner import Arrays
from lib.convert.formats.saved_model.check import checked
from lib.convert.formats.saved_model.signatures import NO_NUMBERS, natural, signatures_of
from lib.errors import InvalidFile, InvalidValue, JobFailed
from lib.model_inputs.signature import Signature, Value
from lib.onnx_model.words import clean
from lib.settings import prepare_library


class SavedModelRunner:
    """Runs every signature of ``saved_model/`` in an artifact folder, or the one that was chosen (``signatures.py``).

    Names and dtypes are those of the signature; outputs are sorted by name.
    """

    def __init__(self, folder: Path) -> None:
        self._loaded, functions = load(folder)
        self.signatures = list(functions)  # the user may choose one of these
        if chosen := signatures.chosen(folder):
            if chosen not in self._loaded.signatures:
                raise InvalidValue("signature", chosen, ", ".join(k[:80] for k in list(functions)[:20]))
            functions = {chosen: self._loaded.signatures[chosen]}
        self._parts = {signatures.named(key, "", len(functions) > 1): (f, signature(f)) for key, f in functions.items()}
        self._signature = Signature(
            tuple(_renamed(v, prefix) for prefix, (_, part) in self._parts.items() for v in part.inputs),
            tuple(_renamed(v, prefix) for prefix, (_, part) in self._parts.items() for v in part.outputs),
        )

    def signature(self) -> Signature:
        return self._signature

    def run(self, inputs: Arrays) -> Arrays:
        """Runs the signatures. Raises JobFailed for missing inputs or inputs that TensorFlow rejects."""
        import tensorflow as tf

        missing = [v.name for v in self._signature.inputs if v.name not in inputs]
        if missing:
            raise JobFailed(f"Missing inputs: {', '.join(missing)}.")
        outputs: Arrays = {}
        for prefix, (function, part) in self._parts.items():
            try:
                results = function(**{v.name: tf.constant(inputs[prefix + v.name]) for v in part.inputs})
            except Exception as error:  # TensorFlow raises many kinds of errors
                raise JobFailed(f"TensorFlow refuses these inputs: {clean(str(error))}") from None
            outputs |= {prefix + v.name: results[v.name].numpy() for v in part.outputs}
        return outputs

    def close(self) -> None:
        self._loaded = None
        self._parts = {}


def load(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Returns the loaded object, which must be kept alive, and its functions by signature key. Raises InvalidFile."""
    prepare_library(CUDA_VISIBLE_DEVICES="", TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0")
    path = checked(folder)
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises many kinds of errors
        raise InvalidFile(f"TensorFlow cannot load this SavedModel: {clean(str(error))}") from None
    return loaded, signatures_of(loaded)


def signature(function: Any) -> Signature:
    """Returns the signature of a concrete function, with its own names; a dynamic leading dimension is ``batch``.

    Raises InvalidFile for an unknown rank and for non-numeric dtypes.
    """

    def value(name: str, tensor: Any) -> Value:
        if tensor.shape.rank is None:
            raise InvalidFile(f"The SavedModel does not give the rank of {name[:80]!r}. Export it with shapes.")
        if tensor.dtype.name in NO_NUMBERS:
            raise InvalidFile(
                f"{name[:80]!r} is a {tensor.dtype.name}; only models with numeric inputs and outputs are supported."
            )
        shape = tuple(
            d if d is not None else "batch" if axis == 0 else re.sub(r"\W|^(?=\d)", "_", f"{name}_{axis}")
            for axis, d in enumerate(tensor.shape.as_list())
        )
        return Value(name, tensor.dtype.name, shape)

    _, input_specs = function.structured_input_signature
    inputs = []
    for name in sorted(input_specs, key=natural):
        spec = value(name, input_specs[name])
        is_image = spec.dtype == "float32" and len(spec.shape) == 4 and {spec.shape[1], spec.shape[3]} & {1, 3}
        inputs.append(Value(spec.name, spec.dtype, spec.shape, "image" if is_image else ""))
    output_specs = function.structured_outputs
    outputs = tuple(value(name, output_specs[name]) for name in sorted(output_specs, key=natural))
    return Signature(tuple(inputs), outputs)


def _renamed(value: Value, prefix: str) -> Value:
    return Value(prefix + value.name, value.dtype, value.shape, value.role, value.high)
