"""Two layers of Keras on torch's own kernels: the same variables, and the same values up to rounding.

Keras puts batch normalization together from subtractions and products, each of which keeps a copy for the backward pass;
torch has one kernel. Fine-tuning EfficientNet-Lite0 at 128 px in batches of 16 on two cores, pictures a second: 49 with
Keras's own layers, 54 with its channels first, 67 with these two as well; timm on the same busy machine 64 to 76.
"""

from __future__ import annotations

from typing import Any

import keras
import torch
from torch.nn import functional as F


@keras.saving.register_keras_serializable(package="workbench")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """The channels are axis 1. The moving variance takes in the unbiased one, as torch has it."""

    def call(self, inputs: torch.Tensor, training: bool | None = None, mask: Any = None) -> torch.Tensor:
        return F.batch_norm(
            inputs,
            self.moving_mean.value,
            self.moving_variance.value,
            self.gamma.value,
            self.beta.value,
            training=bool(training and self.trainable),
            momentum=1 - self.momentum,  # torch's is the share of the new, Keras's that of the old
            eps=self.epsilon,
        )


@keras.saving.register_keras_serializable(package="workbench")
class InPlaceReLU6(keras.layers.Layer):
    """min(max(x, 0), 6), written over its input: only behind a layer whose backward pass does not need its output."""

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return F.relu6(inputs, inplace=inputs.device.type != "meta")  # while a model is built, tensors have no memory

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
