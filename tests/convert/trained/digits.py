"""Small networks trained here on scikit-learn's handwritten digits, and on its faces."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tests.convert.trained import exporting
from tests.convert.trained.subject import EVERY, Subject, write


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels 0 to 1, [1797, 8, 8], and the digits."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.images / 16).astype(np.float32), found.target.astype(np.int64)


TRAINED, KEPT = slice(0, 1200), slice(1400, 1797)  # by other writers: the data set is in their order
GIVEN = slice(1200, 1264)


def _trained(
    folder: Path, name: str, kind: str, network: nn.Module, pixels: np.ndarray, *, legacy: bool, epochs: int
) -> Subject:
    _, labels = _digits()
    exporting.train(network, (pixels[TRAINED],), labels[TRAINED], nn.functional.cross_entropy, epochs=epochs)
    path = folder / f"{name}.onnx"
    exporting.export(network, (pixels,), path, names=("digit",), outputs=("logits",), legacy=legacy)
    kept = exporting.held(digit=pixels[KEPT]) | {"labels": labels[KEPT]}
    given = {"digit": pixels[GIVEN], "labels": labels[GIVEN]}
    write(folder, given, kept, exporting.predict(network, pixels[KEPT]))
    return Subject(
        name=name, kind=kind, inputs="scikit-learn's digits", measure="top_class", files=(path.name,), folder=folder
    )


def cnn(folder: Path) -> Subject:
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1)),
        *(nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10)),
    )
    return _trained(
        folder, "torch-cnn", "small convolutional network", network, _digits()[0][:, None], legacy=True, epochs=12
    )


class Recurrent(nn.Module):
    """Reads a digit line by line."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.last = nn.LSTM(8, 64, 2, batch_first=True), nn.Linear(64, 10)

    def forward(self, digit: torch.Tensor) -> torch.Tensor:
        return self.last(self.lstm(digit)[0][:, -1])


def lstm(folder: Path) -> Subject:
    torch.manual_seed(0)
    return _trained(folder, "torch-lstm", "recurrent network", Recurrent(), _digits()[0], legacy=True, epochs=25)


class Transformer(nn.Module):
    """Four by four patches of two by two pixels, two layers of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.place = nn.Conv2d(1, 48, 2, 2), nn.Parameter(torch.randn(1, 16, 48) * 0.02)
        self.one, self.two = (nn.TransformerEncoderLayer(48, 4, 96, 0.0, "gelu", batch_first=True) for _ in range(2))
        self.last = nn.Linear(48, 10)

    def forward(self, digit: torch.Tensor) -> torch.Tensor:
        x = self.patch(digit).flatten(2).transpose(1, 2) + self.place
        return self.last(self.two(self.one(x)).mean(1))


def vit(folder: Path) -> Subject:
    torch.manual_seed(0)
    pixels = _digits()[0][:, None]
    return _trained(folder, "torch-vit", "vision transformer", Transformer(), pixels, legacy=False, epochs=30)


def faces(folder: Path) -> Subject:
    """Face or none: real photographs of 25 x 25 pixels."""
    from skimage.data import lfw_subset

    torch.manual_seed(0)
    every = np.ascontiguousarray(lfw_subset(), np.float32)[:, None]  # the first half are faces
    labels = np.repeat(np.array([1, 0]), 100)
    order = np.random.default_rng(0).permutation(200)
    every, labels = every[order], labels[order]
    network = nn.Sequential(
        *(nn.Conv2d(1, 12, 5, 2, bias=False), nn.BatchNorm2d(12), nn.SiLU(), nn.Conv2d(12, 24, 3, 2), nn.SiLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(96, 2)),
    )
    exporting.train(network, (every[:80],), labels[:80], nn.functional.cross_entropy, epochs=60, batch=16, rate=5e-3)
    exporting.export(network, (every,), folder / "faces.onnx", names=("photo",), outputs=("logits",))
    kept = exporting.held(photo=every[100:]) | {"labels": labels[100:]}
    given = {"photo": every[:80], "labels": labels[:80]}
    write(folder, given, kept, exporting.predict(network, every[100:]))
    return Subject(
        name="faces",
        kind="face or none",
        inputs="scikit-image's faces",
        measure="top_class",
        files=("faces.onnx",),
        folder=folder,
    )


def keras_cnn(folder: Path) -> Subject:
    """Pixels as they come out of a file: 0 to 255."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    pixels, labels = _digits()
    pixels = np.round(pixels * 255)[..., None].astype(np.float32)
    x = keras.Input((8, 8, 1), name="digit")
    h = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    h = layers.Conv2D(32, 3, padding="same", activation="relu")(layers.BatchNormalization()(h))
    h = layers.Dense(64, activation="relu")(layers.Flatten()(layers.MaxPooling2D()(h)))
    model = keras.Model(x, layers.Dense(10, activation="softmax", name="probabilities")(h))
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
    model.fit(pixels[TRAINED], labels[TRAINED], epochs=12, batch_size=64, verbose=0)
    model.save(folder / "digits.keras")
    made = np.stack([model.predict_on_batch(pixels[KEPT][k : k + 1]) for k in range(len(pixels[KEPT]))])
    kept = exporting.held(digit=pixels[KEPT]) | {"labels": labels[KEPT]}
    write(folder, {"digit": pixels[GIVEN], "labels": labels[GIVEN]}, kept, [made])
    return Subject(
        name="keras-cnn",
        kind="small convolutional network",
        inputs="scikit-learn's digits, pixels 0 to 255",
        measure="top_class",
        files=("digits.keras",),
        targets=("onnx", *EVERY),
        folder=folder,
    )
