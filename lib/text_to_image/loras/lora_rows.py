"""The part of LoRAs in one call of a network, different in every row.

peft can give each row one adapter (``adapter_names``), and no weights. Here a layer's output grows, row by row, by the sum
of weight x up (down x) over that row's LoRAs: for all of them two matrix products, of matrices put one beside the other,
with a row's weights, or zeros, between them. Costs are in docs/text_to_image.md.
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
]  # what one row has, in the order of names: sums round the same in every company


@contextmanager
def apply_loras(
    network: nn.Module, component: str, rows: Sequence[WeightedLoras], *, separately: bool = False
) -> Iterator[None]:
    """Calls of ``network`` inside have ``rows`` [n] as their rows; one row stands for any number of the same.

    ``separately`` takes LoRA by LoRA and all rows at once: slower, and no row's rounding then depends on what others have.
    """
    loras = sorted(
        {lora for row in rows for lora, weight in row if weight and component in lora.layers}, key=lambda lora: lora.name
    )
    if not loras:
        yield
        return
    modules = dict(network.named_modules())
    with ExitStack() as stack:
        for some in [[lora] for lora in loras] if separately else [loras]:
            weights = torch.tensor([[sum(w for lora, w in row if lora is one) for one in some] for row in rows])
            part = _LoraGroup(some, component, weights, whole=separately)
            for name in part.layers:
                handle = modules[name].register_forward_hook(part.hook(name))
                stack.callback(handle.remove)
        yield


class _LoraGroup:
    """Some LoRAs of one call. ``weights`` [n, LoRAs] on the CPU."""

    def __init__(self, loras: Sequence[Lora], component: str, weights: torch.Tensor, *, whole: bool) -> None:
        self._deltas = [lora.layers[component] for lora in loras]
        self.layers = list(dict.fromkeys(name for deltas in self._deltas for name in deltas))
        self._weights, self._whole = weights, whole
        self._scales: dict[Any, tuple[torch.Tensor, torch.Tensor | None]] = {}

    def hook(self, name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], torch.Tensor]:
        at = tuple(k for k, deltas in enumerate(self._deltas) if name in deltas)
        deltas = [self._deltas[k][name] for k in at]
        down, up = _concatenate(deltas)

        def add(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            x = inputs[0]
            scale, some = self._scale(at, tuple(delta.rank for delta in deltas), x)
            taken = x if some is None else x[some]
            if isinstance(module, nn.Conv2d):
                low = functional.conv2d(taken, down, None, module.stride, module.padding, module.dilation)
                more = functional.conv2d(low * scale[:, :, None, None], up)
            else:
                low = functional.linear(taken, down)
                more = functional.linear(low * scale.view(len(scale), *[1] * (low.ndim - 2), -1), up)
            # in place: the output is the layer's own, and nobody else has seen it
            return output.add_(more) if some is None else output.index_add_(0, some, more)

        return add

    def _scale(
        self, at: tuple[int, ...], ranks: tuple[int, ...], x: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weights [n, ranks] for the rows that have any, and which those are; None for all."""
        key = (at, ranks, x.dtype)
        if key not in self._scales:
            weights, some = self._weights[:, list(at)], None
            having = weights.ne(0).any(1)
            if not self._whole and not having.all():
                some = having.nonzero()[:, 0]
                weights, some = weights[some], some.to(x.device)
            self._scales[key] = weights.repeat_interleave(torch.tensor(ranks), dim=1).to(x.device, x.dtype), some
        return self._scales[key]


def _concatenate(deltas: Sequence[Delta]) -> tuple[torch.Tensor, torch.Tensor]:
    if len(deltas) == 1:
        return deltas[0].down, deltas[0].up
    return torch.cat([d.down for d in deltas]), torch.cat([d.up for d in deltas], dim=1)
