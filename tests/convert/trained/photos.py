"""Real photographs out of packages that the tests need anyway, and crops of them.

``SEEN`` are for training, calibration and the user's samples; ``UNSEEN`` for the independent check only.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

SEEN = (
    *("skimage/data/astronaut.png", "skimage/data/coffee.png", "skimage/data/motorcycle_left.png"),
    *("skimage/data/brick.png", "skimage/data/retina.jpg", "skimage/data/coins.png"),
    *("sklearn/datasets/images/china.jpg", "gradio/media_assets/images/lion.jpg", "gradio/test_data/cheetah2.jpg"),
)
UNSEEN = (
    *("skimage/data/chelsea.png", "skimage/data/rocket.jpg", "skimage/data/ihc.png", "skimage/data/grass.png"),
    *("skimage/data/camera.png", "skimage/data/hubble_deep_field.jpg", "sklearn/datasets/images/flower.jpg"),
    *("gradio/media_assets/images/tower.jpg", "gradio/media_assets/images/bus.png"),
    *("gradio/media_assets/images/groot.jpeg", "gradio/media_assets/images/cheetah1.jpg"),
)


@cache
def photo(name: str) -> Image.Image:
    package, _, path = name.partition("/")
    found = importlib.util.find_spec(package)
    assert found is not None and found.origin is not None, package
    return Image.open(Path(found.origin).parent / path).convert("RGB")


def crops(names: tuple[str, ...], count: int, size: int, seed: int, least: float = 0.5) -> np.ndarray:
    """uint8 [count, size, size, 3]: squares of ``least`` to all of the shorter side, half of them mirrored."""
    rng = np.random.default_rng(seed)
    out = []
    for k in range(count):
        whole = photo(names[k % len(names)])
        side = int(min(whole.size) * rng.uniform(least, 1))
        left, top = (int(rng.integers(0, length - side + 1)) for length in whole.size)
        square = whole.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
        out.append(np.asarray(square)[:, ::-1] if rng.random() < 0.5 else np.asarray(square))
    return np.stack(out)
