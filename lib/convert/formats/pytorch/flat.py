"""Wraps models in a flat interface: positional tensors in, a tuple of named tensors out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

CACHES = ("past_key_values", "cache_params", "mems", "past_buckets_states", "state")


def named(outputs: Any, prefix: str = "") -> dict[str, Any]:
    """Flattens a model's outputs to tensors by name; caches and values that are not tensors are left out.

    Names join the keys of mappings and the positions in tuples, such as ``hidden_states_0``.
    """
    import torch

    if isinstance(outputs, torch.Tensor):
        return {prefix or "output": outputs}
    if isinstance(outputs, Mapping):
        fields = {str(k): v for k, v in outputs.items() if k not in CACHES}
    elif isinstance(outputs, (tuple, list)):
        fields = {str(k): v for k, v in enumerate(outputs)}
    else:
        return {}
    tensors: dict[str, Any] = {}
    for key, value in fields.items():
        tensors |= named(value, f"{prefix}_{key}" if prefix else (key if not key.isdigit() else f"output_{key}"))
    return tensors


def flat(model: Any, inputs: Sequence[str], *, style: str, extra: Mapping[str, Any], outputs: Sequence[str] = ()) -> Any:
    """Returns an eval-mode module around ``model`` whose ``forward`` takes ``inputs`` in this order, as tensors.

    ``style``: ``positional``; ``keywords`` (plus the ``extra`` keywords); or ``detection``: images (batch, 3, height,
    width), of which only the first image's detections are returned, one row each. ``outputs`` selects and orders the
    outputs; without it, all are returned and ``names`` holds the names of the last call.
    """
    import torch

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.names, self.style = tuple(outputs), style

        def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
            if style == "detection":
                results = named(self.model(list(given[0].unbind()))[0])
            elif style == "positional":
                results = named(self.model(*given))
            else:
                results = named(self.model(**dict(zip(inputs, given, strict=True)), **extra))
            if "output" in results and len(results) == 1:
                results = {"logits": results["output"]}
            if not outputs:
                self.names = tuple(results)
            return tuple(results[name] for name in outputs or results)

    return Flat().eval()
