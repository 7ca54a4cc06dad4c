"""A model made flat: tensors in by position, a tuple of named tensors out. Knows how models like to be called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

CACHES = ("past_key_values", "cache_params", "mems", "past_buckets_states", "state")


def named(outputs: Any, prefix: str = "") -> dict[str, Any]:
    """Every tensor in what a model returned, by name; None, caches and what is no tensor are left out.

    A field of a dict or data class gives its name, a place in a tuple its number: ``hidden_states_0``.
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
    found: dict[str, Any] = {}
    for key, value in fields.items():
        found |= named(value, f"{prefix}_{key}" if prefix else (key if not key.isdigit() else f"output_{key}"))
    return found


def flat(model: Any, inputs: Sequence[str], *, style: str, extra: Mapping[str, Any], outputs: Sequence[str] = ()) -> Any:
    """A torch module around ``model``, in eval mode, whose ``forward`` takes the inputs in this order.

    ``style``: ``positional``; ``keywords`` (with ``extra`` keywords); ``detection``: pictures (batch, 3, height,
    width), of which the first one's detections come back as they are, one row each. With ``outputs`` only these come back.
    ``names`` are those of the last call.
    """
    import torch

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.names, self.style = tuple(outputs), style

        def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
            if style == "detection":
                found = named(self.model(list(given[0].unbind()))[0])
            elif style == "positional":
                found = named(self.model(*given))
            else:
                found = named(self.model(**dict(zip(inputs, given, strict=True)), **extra))
            if "output" in found and len(found) == 1:
                found = {"logits": found["output"]}
            if not outputs:
                self.names = tuple(found)
            return tuple(found[name] for name in outputs or found)

    return Flat().eval()
