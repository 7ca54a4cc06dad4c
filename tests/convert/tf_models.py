"""Tiny SavedModels, made where TensorFlow is: a job of its own makes one and converts it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def made(progress: Callable[..., None], kind: str, folder: str, options: dict[str, Any]) -> dict[str, Any]:
    """Saves the SavedModel ``kind``, converts it to ONNX; as ``edge_run.compared`` answers, with both's ``inputs``."""
    from tests.convert import edge_run

    source, target = Path(folder) / "source", Path(folder) / "target"
    KINDS[kind](str(source / "saved_model"))
    said = edge_run.convert("saved-model", "onnx", source, target, **options)
    return edge_run.measured("saved-model", source, "onnx", target, said)


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _weights(*shape: int) -> np.ndarray:
    return _rng().standard_normal(shape).astype(np.float32)


def _save(module: Any, path: str, **signatures: Any) -> None:
    import tensorflow as tf

    tf.saved_model.save(module, path, signatures=signatures)


def captured(path: str) -> None:
    """A constant that the function captures, and a variable."""
    import tensorflow as tf

    module, weights = tf.Module(), tf.constant(_weights(4, 3))
    module.bias = tf.Variable(_weights(3))
    wanted = [tf.TensorSpec([None, 4], tf.float32, name="x")]
    _save(module, path, serving_default=tf.function(lambda x: {"y": x @ weights + module.bias}, input_signature=wanted))


def table(path: str) -> None:
    """Numbers looked up in a table, whose default counts for the others."""
    import tensorflow as tf

    module = tf.Module()
    pairs = tf.lookup.KeyValueTensorInitializer(tf.constant([0, 2, 5], tf.int64), tf.constant([0.5, -3.0, 9.0]))
    module.table = tf.lookup.StaticHashTable(pairs, -1.0)
    wanted = [tf.TensorSpec([None, 4], tf.int64, name="x")]
    _save(module, path, serving_default=tf.function(lambda x: {"y": module.table.lookup(x)}, input_signature=wanted))


def counter(path: str) -> None:
    """A variable that every run changes."""
    import tensorflow as tf

    module = tf.Module()
    module.count = tf.Variable(2.0)

    def step(x: Any) -> dict[str, Any]:
        module.count.assign_add(1.0)
        return {"y": x * module.count}

    wanted = [tf.TensorSpec([None, 4], tf.float32, name="x")]
    _save(module, path, serving_default=tf.function(step, input_signature=wanted))


def two(path: str) -> None:
    """``encode`` and ``decode``, no serving_default."""
    import tensorflow as tf

    module = tf.Module()
    module.weights = tf.Variable(_weights(4, 3))
    encode = tf.function(lambda x: {"y": x @ module.weights}, input_signature=[tf.TensorSpec([None, 4], name="x")])
    back = tf.function(
        lambda y: {"x": y @ tf.transpose(module.weights)}, input_signature=[tf.TensorSpec([None, 3], name="y")]
    )
    _save(module, path, encode=encode, decode=back)


def keras(path: str) -> None:
    """Keras' own export: ``serve`` and ``serving_default`` are one and the same."""
    import keras

    x = keras.Input((4,))
    keras.Model(x, keras.layers.Dense(3)(x)).export(path, verbose=False)


KINDS: dict[str, Callable[[str], None]] = {f.__name__: f for f in (captured, table, counter, two, keras)}
