"""Finds the architectures that a weights file fits, by its tensors' names and shapes. Builds no network.

``fits.json`` holds a fingerprint of every torchvision classifier and segmentation model; regenerate it with
``python -m lib.convert.formats.pytorch.fits``. Heads with another number of classes fit too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")
HEADS = ("fc.", "classifier.", "head.", "heads.")
PREFIXES = ("module.", "_orig_mod.")  # added by DataParallel and torch.compile
Tensors = Iterable[tuple[str, Iterable[int]]]


def fitting(tensors: Tensors) -> list[str]:
    """Returns the source names of fitting architectures, such as ``torchvision:resnet18``."""
    return [f"torchvision:{name}" for name in _known().get(fingerprint(tensors), ())]


def fingerprint(tensors: Tensors) -> str:
    """Returns a hash of names and shapes that ignores the class count, batch norm counters and auxiliary heads."""
    lines = []
    shapes = [(name, list(shape)) for name, shape in tensors]
    for prefix in PREFIXES:
        if shapes and all(name.startswith(prefix) for name, _ in shapes):
            shapes = [(name.removeprefix(prefix), shape) for name, shape in shapes]
    for name, shape in shapes:
        if name.endswith("num_batches_tracked") or name.startswith(("aux", "AuxLogits.")):
            continue
        sizes = ["*", *shape[1:]] if name.startswith(HEADS) else shape
        lines.append(f"{name} {'x'.join(map(str, sizes))}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


@cache
def _known() -> dict[str, list[str]]:
    return json.loads(FILE.read_text())


def _make() -> dict[str, list[str]]:
    """Builds the content of ``fits.json``: fingerprint -> names of the torchvision models that share it."""
    import torch
    from torchvision.models import get_model

    from lib.convert.formats.pytorch.torchvision_models import AUXILIARY, NAMES

    names_by_fingerprint: dict[str, list[str]] = {}
    for name in (*NAMES["classification"], *NAMES["segmentation"]):
        options = {"weights_backbone": None} if name in NAMES["segmentation"] else {}
        options |= {"init_weights": False} if name in AUXILIARY else {}
        with torch.device("cpu" if name.startswith("regnet") else "meta"):  # regnets compute their widths with tensors
            state = get_model(name, weights=None, **options).state_dict()
        names_by_fingerprint.setdefault(fingerprint((n, t.shape) for n, t in state.items()), []).append(name)
    return names_by_fingerprint


if __name__ == "__main__":
    FILE.write_text(json.dumps(_make(), indent=0) + "\n")
