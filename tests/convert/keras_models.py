"""Tiny Keras models with random weights, for tests. Keras has to have its backend before this is imported."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from keras import layers


def save(model: keras.Model, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "model.keras")
    return folder


def pictures() -> keras.Model:
    """One picture in; ``scores`` and ``box`` out; with a batch norm that is not the identity, and a dropout."""
    keras.utils.set_random_seed(0)
    x = keras.Input((16, 16, 3), name="picture")
    h = layers.Conv2D(6, 3, strides=2, padding="same")(x)
    h = layers.BatchNormalization()(h)
    h = layers.GlobalAveragePooling2D()(layers.ReLU()(h))
    h = layers.Dropout(0.5)(h)
    model = keras.Model(x, [layers.Dense(5, name="scores")(h), layers.Dense(2, name="box")(h)])
    calibrate(model, np.random.default_rng(0).standard_normal((16, 16, 16, 3)).astype(np.float32))
    return model


def words() -> keras.Model:
    """Tokens without a dtype of their own, and a dict of inputs whose order is not its names'."""
    keras.utils.set_random_seed(1)
    ids, features = keras.Input((7,), name="ids"), keras.Input((4,), name="features")
    h = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(layers.Embedding(30, 8)(ids)))
    outputs = {"b": layers.Dense(2, name="both")(layers.concatenate([h, features])), "a": layers.Dense(3, name="alone")(h)}
    return keras.Model({"ids": ids, "features": features}, outputs)


def mobilenet() -> keras.Model:
    """MobileNetV3Small on 64 x 64 pixels, whose outputs depend on the picture."""
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV3Small(
        input_shape=(64, 64, 3), weights=None, classes=10, include_preprocessing=False
    )
    calibrate(model, np.random.default_rng(0).standard_normal((16, 64, 64, 3)).astype(np.float32))
    return model


def calibrate(model: keras.Model, pictures: np.ndarray) -> None:
    """Moves the statistics of every batch norm to those of these pictures."""
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.3
    for _ in range(6):
        model(pictures, training=True)
    for layer in norms:
        layer.momentum = 0.99
