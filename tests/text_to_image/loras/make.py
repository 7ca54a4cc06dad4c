"""LoRA files with random weights for the tests' tiny models, in the formats that people have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from safetensors.torch import save_file
from torch import nn

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FORMATS = ("peft", "diffusers", "kohya")


def matrices(module: nn.Module, rank: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    out, into, *kernel = module.weight.shape
    down = torch.randn(rank, into, *kernel, generator=generator) / (into * (kernel[0] ** 2 if kernel else 1)) ** 0.5
    return down, torch.randn(out, rank, *[1] * len(kernel), generator=generator) / rank**0.5


def targets(network: nn.Module, component: str) -> list[str]:
    """Attention, feed-forward and, in a UNet, convolutions."""
    ends = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2") if component.startswith("text") else ATTENTION
    more = ("ff.net.0.proj", "ff.net.2", "proj_in", "proj_out", "conv1", "conv2")
    found = dict(network.named_modules())
    return [name for name in found if name.endswith(ends if component.startswith("text") else (*ends, *more))]


def write(
    path: Path, pipeline: Any, kind: str, *, seed: int, rank: int = 4, alpha: float | None = None, text: bool = True
) -> Path:
    """``alpha`` (kohya: in every layer; peft: in the file's metadata) scales by alpha / rank."""
    generator = torch.Generator().manual_seed(seed)
    components = ["transformer" if hasattr(pipeline, "transformer") else "unet"]
    components += [
        n for n in ("text_encoder", "text_encoder_2") if text and isinstance(getattr(pipeline, n, None), nn.Module)
    ]
    state, metadata = {}, {}
    for component in components:
        network = getattr(pipeline, component)
        for name in targets(network, component):
            down, up = matrices(network.get_submodule(name), rank, generator)
            if kind == "kohya":
                two = "text_encoder_2" in components
                start = {"unet": "lora_unet_", "text_encoder": f"lora_te{'1' * two}_", "text_encoder_2": "lora_te2_"}[
                    component
                ]
                where = _whole(name, component)
                key = start + where.replace(".", "_")
                state |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
                state[f"{key}.alpha"] = torch.tensor(float(rank if alpha is None else alpha))
            elif kind == "diffusers":
                low, high = (
                    ("lora_linear_layer.down", "lora_linear_layer.up") if component != "unet" else ("lora.down", "lora.up")
                )
                where = _whole(name, component)
                state |= {f"{component}.{where}.{low}.weight": down, f"{component}.{where}.{high}.weight": up}
            else:
                state |= {f"{component}.{name}.lora_A.weight": down, f"{component}.{name}.lora_B.weight": up}
        if kind == "peft" and alpha is not None:
            modules = targets(network, component)
            metadata |= {
                f"{component}.{k}": v for k, v in {"r": rank, "lora_alpha": alpha, "target_modules": modules}.items()
            }
    save_file(state, path, {LORA_ADAPTER_METADATA_KEY: json.dumps(metadata)} if metadata else None)
    return path


def _whole(name: str, component: str) -> str:
    """Newer transformers leave the first word out of a CLIPTextModel's names; no file does."""
    return name if component == "unet" or name.startswith("text_model.") else f"text_model.{name}"
