"""Apply LoRAs in a call of a network, with different LoRAs and weights per row.

peft supports one adapter per row (``adapter_names``), without weights. Here the sum of weight x up (down x) over a row's
LoRAs is added to a layer's output: two products with the concatenated matrices, and between them a multiplication by the
row's weights, which may be zero. See docs/text_to_image.md for the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from lib.text_to_image.loras.lora_file import Delta, Lora

WeightedLoras = tuple[
    tuple[Lora, float], ...
]  # LoRAs of one row, sorted by name so that the rounding of sums does not depend on the batch


@contextmanager
def apply_loras(
    network: nn.Module, component: str, rows: Sequence[WeightedLoras], *, separately: bool = False
) -> Iterator[None]:
    """Apply the LoRAs of ``rows`` [n] to calls of ``network`` in the block. A single row is broadcast to the whole call.

    ``separately``: apply one LoRA at a time to all rows, so that a row's rounding does not depend on the others. Slower.
    """
    loras = sorted(
        {lora for row in rows for lora, weight in row if weight and component in lora.layers}, key=lambda lora: lora.name
    )
    if not loras:
        yield
        return
    modules = dict(network.named_modules())
    with ExitStack() as stack:
        for group in [[lora] for lora in loras] if separately else [loras]:
            weights = torch.tensor(
                [[sum(w for lora, w in row if lora is lora_of_group) for lora_of_group in group] for row in rows]
            )
            lora_group = _LoraGroup(group, component, weights, whole=separately)
            for name in lora_group.layers:
                handle = modules[name].register_forward_hook(lora_group.hook(name))
                stack.callback(handle.remove)
        yield


class _LoraGroup:
    """LoRAs that are applied together. ``weights``: [n, LoRAs] on the CPU; ``whole``: compute all rows."""

    def __init__(self, loras: Sequence[Lora], component: str, weights: torch.Tensor, *, whole: bool) -> None:
        self._deltas = [lora.layers[component] for lora in loras]
        self.layers = list(dict.fromkeys(name for deltas in self._deltas for name in deltas))
        self._weights, self._whole = weights, whole
        self._scales: dict[Any, tuple[torch.Tensor, torch.Tensor | None]] = {}

    def hook(self, name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], torch.Tensor]:
        indices = tuple(k for k, deltas in enumerate(self._deltas) if name in deltas)
        deltas = [self._deltas[k][name] for k in indices]
        down, up = _concatenate(deltas)

        def add(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            x = inputs[0]
            scale, row_indices = self._scale(indices, tuple(delta.rank for delta in deltas), x)
            selected = x if row_indices is None else x[row_indices]
            if isinstance(module, nn.Conv2d):
                low = functional.conv2d(selected, down, None, module.stride, module.padding, module.dilation)
                delta_output = functional.conv2d(low * scale[:, :, None, None], up)
            else:
                low = functional.linear(selected, down)
                delta_output = functional.linear(low * scale.view(len(scale), *[1] * (low.ndim - 2), -1), up)
            # in place: the output is not used elsewhere yet
            return output.add_(delta_output) if row_indices is None else output.index_add_(0, row_indices, delta_output)

        return add

    def _scale(
        self, at: tuple[int, ...], ranks: tuple[int, ...], x: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the weights [n, ranks] of the rows that have any, and the indices of those rows, None for all."""
        key = (at, ranks, x.dtype)
        if key not in self._scales:
            weights, row_indices = self._weights[:, list(at)], None
            nonzero_rows = weights.ne(0).any(1)
            if not self._whole and not nonzero_rows.all():
                row_indices = nonzero_rows.nonzero()[:, 0]
                weights, row_indices = weights[row_indices], row_indices.to(x.device)
            self._scales[key] = weights.repeat_interleave(torch.tensor(ranks), dim=1).to(x.device, x.dtype), row_indices
        return self._scales[key]


def _concatenate(deltas: Sequence[Delta]) -> tuple[torch.Tensor, torch.Tensor]:
    if len(deltas) == 1:
        return deltas[0].down, deltas[0].up
    return torch.cat([d.down for d in deltas]), torch.cat([d.up for d in deltas], dim=1)
