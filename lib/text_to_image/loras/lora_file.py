"""Read a LoRA file into matrices for the layers of a model. Only safetensors are read, never a pickle.

diffusers' ``load_lora_weights`` adds a LoRA to the network, the same for every row of a batch. Here diffusers only reads
the file and converts kohya's and its own names; the matrices are kept separately and ``lora_rows.py`` applies them per row.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.utils.state_dict_utils import DIFFUSERS_OLD_TO_PEFT, DIFFUSERS_TO_PEFT, UNET_TO_DIFFUSERS, convert_state_dict
from torch import nn

from lib.errors import InvalidValue, ModelUnavailable

OTHER_METHODS = ("lokr_", "hada_", "oft_", "lora_mid", "dora_scale", "magnitude_vector", ".diff", "lora_B.bias")
LAYERS = (nn.Linear, nn.Conv2d)


@dataclass(frozen=True, slots=True)
class Delta:
    """LoRA of one layer (Hu et al. 2021): adds ``up (down x)`` to its output. ``up`` includes the factor alpha / rank.

    ``down`` and ``up`` are [rank, in] and [out, rank] for Linear, [rank, in, k, k] and [out, rank, 1, 1] for Conv2d.
    """

    down: torch.Tensor
    up: torch.Tensor

    @property
    def rank(self) -> int:
        return len(self.down)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lora:
    """A loaded LoRA. ``layers``: by component of the pipeline (``unet``, ``text_encoder``) and by name of the layer."""

    name: str
    hash: str
    layers: Mapping[str, Mapping[str, Delta]]


def read(name: str, path: Path, pipeline: Any) -> Lora:
    """Read the file at ``path`` for a pipeline, on its device and in its dtype.

    Raises ModelUnavailable if the file is not a LoRA, and InvalidValue if it is for another kind of model.
    """
    load = getattr(pipeline, "lora_state_dict", None)
    if load is None:
        raise InvalidValue("loras", name, "none: this kind of model does not support LoRAs")
    options: dict[str, Any] = {"weight_name": path.name, "use_safetensors": True, "local_files_only": True}
    if "return_alphas" in inspect.signature(load).parameters:
        options["return_alphas"] = True
    if hasattr(pipeline, "text_encoder_2") and hasattr(pipeline, "unet"):  # used to renumber the blocks of SDXL files
        options["unet_config"] = pipeline.unet.config
    try:
        state, *alphas, metadata = load(str(path.parent), return_lora_metadata=True, **options)
    except Exception as error:
        raise ModelUnavailable(f"its file could not be read as a LoRA ({_words(error)})") from error
    _refuse_other_methods(state)
    layers = {}
    for component in sorted({key.split(".")[0] for key in state}):
        network = getattr(pipeline, component, None)
        if not isinstance(network, nn.Module):
            raise InvalidValue("loras", name, f"one for this kind of model: this one has weights for a {component[:40]!r}")
        component_metadata = {
            k.removeprefix(component + "."): v for k, v in (metadata or {}).items() if k.startswith(component + ".")
        }
        layers[component] = _layers(name, component, network, state, (alphas and alphas[0]) or {}, component_metadata)
    if not layers:
        raise ModelUnavailable("its file holds no LoRA weights")
    return Lora(name=name, hash=_hash(path), layers=layers)


def _layers(
    name: str, component: str, network: nn.Module, state: Any, alphas: Mapping[str, float], metadata: Mapping[str, Any]
) -> dict[str, Delta]:
    prefix, modules = component + ".", dict(network.named_modules())
    keys = {_peft(key.removeprefix(prefix), component): key for key in state if key.startswith(prefix)}
    if component.startswith("text_encoder") and not hasattr(
        network, "text_model"
    ):  # newer transformers have no ``text_model`` level
        keys = {key.removeprefix("text_model."): original_key for key, original_key in keys.items()}
    layers = {}
    for key, original_key in keys.items():
        layer, separator, _ = key.partition(".lora_A")
        if not separator:
            if ".lora_B" not in key:
                raise ModelUnavailable("its file holds weights that do not belong to a LoRA")
            continue
        module, down, up = modules.get(layer), state[original_key], state.get(keys.get(f"{layer}.lora_B.weight", ""))
        if not isinstance(module, LAYERS) or up is None or not _fits(module, down, up):
            raise InvalidValue("loras", name, f"one that was made for this model: {layer[:60]!r} does not fit")
        if not (torch.isfinite(down).all() and torch.isfinite(up).all()):
            raise ModelUnavailable("its file holds values that are not numbers")
        names = (f"{original_key.split('.lora.')[0]}.alpha", f"{prefix}{layer}.alpha")
        alpha = next((float(alphas[n]) for n in names if n in alphas), None) or _alpha(metadata, layer, len(down))
        scale = alpha / len(down)
        weight = module.weight
        layers[layer] = Delta(*(m.to(weight.device, weight.dtype) for m in (down, up.float() * scale)))
    return layers


def _peft(key: str, component: str) -> str:
    """Convert a key of diffusers' older formats to peft's: ``….to_q.lora_A.weight``."""
    table = DIFFUSERS_TO_PEFT | DIFFUSERS_OLD_TO_PEFT if component.startswith("text_encoder") else UNET_TO_DIFFUSERS
    return next(iter(convert_state_dict({key: None}, table)))


def _alpha(metadata: Mapping[str, Any], layer: str, rank: int) -> float:
    """Return the alpha of a layer from diffusers' metadata; files without metadata use the rank."""
    if "lora_alpha" not in metadata:
        return float(rank)
    patterns = metadata.get("alpha_pattern") or {}
    alpha = next((a for p, a in patterns.items() if re.match(rf"(.*\.)?({p})$", layer)), metadata["lora_alpha"])
    return float(alpha) * (rank**0.5 if metadata.get("use_rslora") else 1.0)


def _fits(module: nn.Module, down: torch.Tensor, up: torch.Tensor) -> bool:
    weight = module.weight
    if isinstance(module, nn.Conv2d):
        fits = module.groups == 1 and down.shape[1:] == weight.shape[1:] and up.shape[2:] == (1, 1)
    else:
        fits = down.ndim == up.ndim == 2 and down.shape[1] == weight.shape[1]
    return bool(fits) and up.shape[0] == weight.shape[0] and up.shape[1] == down.shape[0]


def _refuse_other_methods(state: Any) -> None:
    for key in state:
        method = next((mark for mark in OTHER_METHODS if mark in key), None)
        if method:
            raise ModelUnavailable(f"it uses another method than LoRA ({method.strip('._')})")


def _hash(path: Path) -> str:
    """Return the hash that A1111's web UI writes into pictures: of the tensors, without the header, which tools rewrite."""
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def _words(error: Exception) -> str:
    text = str(error).strip().splitlines()[0] if str(error).strip() else ""
    return type(error).__name__ if not text or "/" in text or "\\" in text or len(text) > 120 else text
