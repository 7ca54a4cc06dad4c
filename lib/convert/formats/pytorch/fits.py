"""Which architectures a file of weights belongs to, by names and shapes of its tensors. Builds no network.

``fits.json`` has a fingerprint of every torchvision classifier and segmenter; ``python -m lib.convert.formats.pytorch.fits``
writes it anew. A head of another number of classes fits, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")
HEADS = ("fc.", "classifier.", "head.", "heads.")
PREFIXES = ("module.", "_orig_mod.")  # data parallel training, torch.compile
Tensors = Iterable[tuple[str, Iterable[int]]]


def fitting(tensors: Tensors) -> list[str]:
    """Names as the converter takes them: ``torchvision:resnet18``; [] where none fits."""
    return [f"torchvision:{name}" for name in _known().get(fingerprint(tensors), ())]


def fingerprint(tensors: Tensors) -> str:
    """Without the number of classes, counters of batch norms, and auxiliary heads, which only training uses."""
    lines = []
    found = [(name, list(shape)) for name, shape in tensors]
    for prefix in PREFIXES:
        if found and all(name.startswith(prefix) for name, _ in found):
            found = [(name.removeprefix(prefix), shape) for name, shape in found]
    for name, shape in found:
        if name.endswith("num_batches_tracked") or name.startswith(("aux", "AuxLogits.")):
            continue
        sizes = ["*", *shape[1:]] if name.startswith(HEADS) else shape
        lines.append(f"{name} {'x'.join(map(str, sizes))}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


@cache
def _known() -> dict[str, list[str]]:
    return json.loads(FILE.read_text())


def _make() -> dict[str, list[str]]:
    import torch
    from torchvision.models import get_model

    from lib.convert.formats.pytorch.torchvision_models import AUXILIARY, NAMES

    out: dict[str, list[str]] = {}
    for name in (*NAMES["classification"], *NAMES["segmentation"]):
        plain = {"weights_backbone": None} if name in NAMES["segmentation"] else {}
        plain |= {"init_weights": False} if name in AUXILIARY else {}
        with torch.device("cpu" if name.startswith("regnet") else "meta"):  # a regnet computes its widths
            state = get_model(name, weights=None, **plain).state_dict()
        out.setdefault(fingerprint((n, t.shape) for n, t in state.items()), []).append(name)
    return out


if __name__ == "__main__":
    FILE.write_text(json.dumps(_make(), indent=0) + "\n")
