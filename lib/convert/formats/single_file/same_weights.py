"""Whether two artifacts of one pipeline hold the same weights, bit by bit: every tensor of every network.

The proof runs the networks as a pipeline calls them, which leaves out what only some pipelines use: the VAE's
encoder, its quant_conv. Both sides are read by diffusers' own loaders; a mistake in our names would otherwise undo
itself. Tensors are kept as digests, so that only one side's weights are in memory at a time.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from lib.convert.formats.diffusers.components import NETWORKS, components, load_network
from lib.errors import JobFailed

if TYPE_CHECKING:
    import torch

Digests = dict[str, str]  # network.tensor -> what tells it from any other


def of_folder(pipeline: Path, dtype: torch.dtype | None = None) -> Digests:
    """A diffusers folder's weights as float32; rounded to ``dtype`` before, where given. Raises InvalidFile."""
    found, _ = components(pipeline)
    out: Digests = {}
    for name in NETWORKS:
        if name in found:
            out |= _digests(name, load_network(pipeline, name), dtype)
    return out


def of_single_file(path: Path) -> Digests:
    """The same of a single file, by diffusers' single-file loader. Raises InvalidFile."""
    from lib.convert.formats.single_file.runner import modules

    loaded, _ = modules(path)
    out: Digests = {}
    for name in list(loaded):
        out |= _digests(name, loaded.pop(name))
    return out


def same(source: Digests, written: Digests) -> None:
    """Raises JobFailed, naming the first tensor that differs."""
    differ = sorted(n for n in source.keys() | written.keys() if source.get(n) != written.get(n))
    if not differ:
        return
    first = differ[0]
    what = "is missing in" if first not in written else "is only in" if first not in source else "is another one in"
    raise JobFailed(f"Read back by diffusers, {first[:120]!r} {what} what was written, so it is not handed out.")


def _digests(network: str, module: torch.nn.Module, dtype: torch.dtype | None = None) -> Digests:
    import torch

    out = {}
    for name, tensor in module.state_dict().items():
        if name.endswith("position_ids"):  # counts from 0; releases of transformers differ in whether it is saved
            continue
        value = tensor.to(dtype).to(tensor.dtype) if dtype and tensor.is_floating_point() else tensor
        data = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digest = hashlib.sha256(f"{value.dtype} {tuple(value.shape)} ".encode())
        digest.update(data.data)
        out[f"{network}.{name}"] = digest.hexdigest()
    return out
