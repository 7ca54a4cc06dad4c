"""Networks for pictures: EfficientNet-Lite0 (ImageNet), and small ones trained here on photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from tests.convert.trained import exporting, photos
from tests.convert.trained.subject import Subject, write


def efficientnet(folder: Path) -> Subject:
    import timm

    from lib.train.torch_training import weights

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    found = torch.load(weights.package_file(), map_location="cpu", weights_only=True)
    network.load_state_dict({weights._timm_name(name): value for name, value in found.items()})
    network.eval()

    def inputs(names: tuple[str, ...], count: int, seed: int) -> np.ndarray:
        pictures = photos.crops(names, count, 224, seed).astype(np.float32) / 255
        return np.ascontiguousarray(((pictures - 0.5) / 0.5).transpose(0, 3, 1, 2), np.float32)

    known, unseen = inputs(photos.SEEN, 64, 0), inputs(photos.UNSEEN, 132, 1)
    exporting.export(network, (known,), folder / "efficientnet-lite0.onnx", names=("picture",), outputs=("logits",))
    write(folder, {"picture": known}, exporting.held(picture=unseen), exporting.predict(network, unseen))
    return Subject(
        name="efficientnet-lite0",
        kind="photo classification",
        inputs="crops of photographs in scikit-image, scikit-learn and Gradio",
        measure="top_class",
        files=("efficientnet-lite0.onnx",),
        folder=folder,
    )


class Autoencoder(nn.Module):
    """Grey 32 x 32 to 64 numbers and back."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, 2, 1), nn.GELU(), nn.Conv2d(16, 32, 3, 2, 1), nn.GELU()),
            *(nn.Flatten(), nn.Linear(2048, 64)),
        )
        self.up = nn.Sequential(
            *(nn.Linear(64, 2048), nn.Unflatten(1, (32, 8, 8)), nn.GELU(), nn.ConvTranspose2d(32, 16, 4, 2, 1)),
            *(nn.GELU(), nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Sigmoid()),
        )

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return self.up(self.down(picture))


def _grey(names: tuple[str, ...], count: int, size: int, seed: int) -> np.ndarray:
    return (photos.crops(names, count, size, seed, 0.15).mean(-1) / 255).astype(np.float32)[:, None]


def autoencoder(folder: Path) -> Subject:
    torch.manual_seed(0)
    network = Autoencoder()
    seen, unseen = _grey(photos.SEEN, 1600, 32, 0), _grey(photos.UNSEEN, 220, 32, 1)
    exporting.train(network, (seen,), seen, nn.functional.mse_loss, epochs=20)
    exporting.export(network, (seen,), folder / "autoencoder.onnx", names=("picture",), outputs=("again",))
    write(folder, {"picture": seen[:64]}, exporting.held(picture=unseen), exporting.predict(network, unseen))
    return Subject(
        name="autoencoder",
        kind="autoencoder",
        inputs="patches of photographs",
        measure="explained",
        files=("autoencoder.onnx",),
        folder=folder,
    )


class Segmenter(nn.Module):
    """A U-Net of three levels: one logit a pixel."""

    def __init__(self) -> None:
        super().__init__()

        def block(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())

        self.one, self.two, self.three = block(1, 16), block(16, 32), block(32, 48)
        self.back_two, self.back_one, self.last = block(80, 32), block(48, 16), nn.Conv2d(16, 1, 1)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        pool, double = nn.functional.max_pool2d, nn.functional.interpolate
        one = self.one(picture)
        two = self.two(pool(one, 2))
        three = self.three(pool(two, 2))
        two = self.back_two(torch.cat([double(three, scale_factor=2.0), two], 1))
        return self.last(self.back_one(torch.cat([double(two, scale_factor=2.0), one], 1)))


def _with_digits(background: np.ndarray, digits: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A handwritten digit on every photograph, and which pixels are its ink."""
    rng = np.random.default_rng(seed)
    pictures, masks = background.copy(), np.zeros_like(background)
    for k, digit in enumerate(digits):
        ink = np.kron(digit, np.ones((3, 3), np.float32)) / 16
        y, x = rng.integers(0, background.shape[-1] - 24 + 1, 2)
        place = (k, 0, slice(y, y + 24), slice(x, x + 24))
        shade = rng.choice([0.0, 1.0])
        pictures[place] = pictures[place] * (1 - ink) + shade * ink
        masks[place] = ink > 0.5
    return pictures.astype(np.float32), masks.astype(np.float32)


def segmentation(folder: Path) -> Subject:
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    network, digits = Segmenter(), load_digits().images.astype(np.float32)
    seen, inked = _with_digits(_grey(photos.SEEN, 600, 48, 2), digits[:600], 0)
    unseen, truth = _with_digits(_grey(photos.UNSEEN, 150, 48, 3), digits[1500:1650], 1)
    exporting.train(network, (seen,), inked, nn.functional.binary_cross_entropy_with_logits, epochs=8, batch=32, rate=5e-3)
    exporting.export(network, (seen,), folder / "segmentation.onnx", names=("picture",), outputs=("ink",))
    made = exporting.held(picture=unseen) | {"labels": truth}
    write(folder, {"picture": seen[:64]}, made, exporting.predict(network, unseen))
    return Subject(
        name="segmentation",
        kind="segmentation",
        inputs="handwritten digits on photographs",
        measure="overlap",
        files=("segmentation.onnx",),
        folder=folder,
    )
