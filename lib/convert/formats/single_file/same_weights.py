"""Checks that two artifacts of a pipeline hold bitwise equal weights, for every tensor of every network.

The proof runs networks as a text-to-image pipeline does, so it misses the VAE's encoder and quant_conv. Both sides are
read with diffusers' own loaders: otherwise a mistake in our name mapping would cancel out. Tensors are compared by
digest, so that only one side's weights are in memory at a time.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from lib.convert.formats.diffusers.components import NETWORKS, components, load_network
from lib.errors import JobFailed

if TYPE_CHECKING:
    import torch

Digests = dict[str, str]  # "network.tensor" -> SHA-256 of its dtype, shape and bytes


def of_folder(pipeline: Path, dtype: torch.dtype | None = None) -> Digests:
    """Digests the float32 weights of a diffusers folder, rounded to ``dtype`` first if given. Raises InvalidFile."""
    classes, _ = components(pipeline)
    digests: Digests = {}
    for name in NETWORKS:
        if name in classes:
            digests |= _digests(name, load_network(pipeline, name), dtype)
    return digests


def of_single_file(path: Path) -> Digests:
    """Digests the float32 weights of a single file, read by diffusers' single-file loader. Raises InvalidFile."""
    from lib.convert.formats.single_file.runner import modules

    loaded, _ = modules(path)
    digests: Digests = {}
    for name in list(loaded):
        digests |= _digests(name, loaded.pop(name))
    return digests


def same(source: Digests, written: Digests) -> None:
    """Raises JobFailed, naming the first tensor that differs."""
    differ = sorted(n for n in source.keys() | written.keys() if source.get(n) != written.get(n))
    if not differ:
        return
    first = differ[0]
    problem = "is missing from" if first not in written else "is only in" if first not in source else "differs in"
    raise JobFailed(f"Read back with diffusers, {first[:120]!r} {problem} the written model, so it is not handed out.")


def _digests(network: str, module: torch.nn.Module, dtype: torch.dtype | None = None) -> Digests:
    import torch

    digests = {}
    for name, tensor in module.state_dict().items():
        if name.endswith("position_ids"):  # a constant arange that only some releases of transformers save
            continue
        value = tensor.to(dtype).to(tensor.dtype) if dtype and tensor.is_floating_point() else tensor
        data = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digest = hashlib.sha256(f"{value.dtype} {tuple(value.shape)} ".encode())
        digest.update(data.data)
        digests[f"{network}.{name}"] = digest.hexdigest()
    return digests
