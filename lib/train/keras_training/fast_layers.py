"""Two Keras layers on torch kernels: same variables, same values up to rounding.

Keras composes batch normalization from subtractions and products, each of which saves a copy for the backward pass;
torch has a single kernel. Fine-tuning EfficientNet-Lite0 at 128 px with batches of 16 on two cores, in images per
second: 49 with Keras's own layers, 54 with channels first, 67 with these two layers as well; timm on the same busy
machine 64 to 76.
"""

from __future__ import annotations

from typing import Any

import keras
import torch
from torch.nn import functional as F


@keras.saving.register_keras_serializable(package="workbench")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization over axis 1. The moving variance uses the unbiased batch variance, as in torch."""

    def call(self, inputs: torch.Tensor, training: bool | None = None, mask: Any = None) -> torch.Tensor:
        return F.batch_norm(
            inputs,
            self.moving_mean.value,
            self.moving_variance.value,
            self.gamma.value,
            self.beta.value,
            training=bool(training and self.trainable),
            momentum=1 - self.momentum,  # torch weights the new value, Keras the old one
            eps=self.epsilon,
        )


@keras.saving.register_keras_serializable(package="workbench")
class InPlaceReLU6(keras.layers.Layer):
    """min(max(x, 0), 6), computed in place: use only after a layer whose backward pass does not need its output."""

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return F.relu6(inputs, inplace=inputs.device.type != "meta")  # meta tensors while the model is built

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
