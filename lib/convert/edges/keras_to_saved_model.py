"""Converts Keras 3 to a TensorFlow SavedModel with Keras' TensorFlow backend; the serving signature has Keras' names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.edges import Progress, edge


@edge(
    "keras",
    "saved-model",
    tool="Keras (TensorFlow backend), tf.saved_model",
    precision="fp32",
    seconds=15,
    error=2e-6,
    environment="tensorflow",
    note="One signature, serving_default: named arrays in, named arrays out, inference only.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    from lib.convert.formats.keras import models as keras_models
    from lib.convert.formats.saved_model.check import FOLDER
    from lib.convert.formats.saved_model.signatures import DEFAULT

    progress("Loading the model", 0.1)
    model = keras_models.load(source, "tensorflow")
    signature = keras_models.signature(model)
    import tensorflow as tf

    inputs = _plain([v.name for v in signature.inputs], "input")
    outputs = _plain([v.name for v in signature.outputs], "output")

    def serve(*given: Any) -> dict[str, Any]:
        return dict(zip(outputs, keras_models.call(model, list(given)), strict=True))

    input_signature = [
        tf.TensorSpec([d if isinstance(d, int) else None for d in v.shape], v.dtype, name=name)
        for v, name in zip(signature.inputs, inputs, strict=True)
    ]
    module = tf.Module()
    module.model = model  # tracked, so that its variables are saved
    progress("Tracing and writing", 0.5)
    function = tf.function(serve, input_signature=input_signature)
    tf.saved_model.save(module, str(target / FOLDER), signatures={DEFAULT: function})
    is_half, messages = keras_models.half(model)
    return ({"precision": "fp16"} if is_half else {}) | {
        "messages": messages,
        "inputs": dict(zip([v.name for v in signature.inputs], inputs, strict=True)),
        "outputs": dict(zip([v.name for v in signature.outputs], outputs, strict=True)),
    }


def _plain(names: list[str], word: str) -> list[str]:
    """Returns the names if TensorFlow keeps them unchanged, else numbered ones."""
    good = all(n.isidentifier() and n.isascii() for n in names) and len({n.lower() for n in names}) == len(names)
    return names if good else [f"{word}_{k}" for k in range(len(names))]
