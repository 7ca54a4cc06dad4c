"""Run chunks of tokens through a text encoder and apply the weights to its output.

Emphasis multiplies the encoder's output at a word by the word's weight. A1111's web UI then rescales the chunk to its
previous mean (``sd_emphasis.py``, "Original", its default), since a larger mean causes artifacts, and offers to skip this
("No norm", "seems to work better for SDXL"). Here: its default for Stable Diffusion 1 and 2, and "No norm" for SDXL, whose
encoders have means close to zero, so that their ratio is noise.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch

from lib.text_to_image.prompts.chunks import Chunk, tokenize

# Share of the standard deviation: a smaller mean is noise and is not restored.
MIN_MEAN = 0.01
MAX_KEPT = 16  # cached texts per encoder

_CACHE: WeakKeyDictionary[Any, OrderedDict[tuple[str, bool], Embedded]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Output of an encoder: ``hidden`` [tokens, width] of all chunks; ``pooled`` [width] of the first chunk, if any."""

    hidden: torch.Tensor
    pooled: torch.Tensor | None


def embed(tokenizer: Any, encoder: Any, text: str, *, penultimate: bool = False) -> Embedded:
    """Encode a prompt. ``encoder``: a CLIPTextModel; with ``penultimate`` (the layer of SDXL) also one with a projection.

    One call per chunk, so that a chunk does not depend on the following ones. Recent results are cached: the pictures of a
    request share their prompt, and most requests share the negative prompt.
    """
    if any(module._forward_hooks for module in encoder.modules()):  # LoRAs of this row (loras/lora_rows.py): do not cache
        return _embed(tokenizer, encoder, text, penultimate)
    cache = _CACHE.setdefault(encoder, OrderedDict())
    key = text, penultimate
    if key not in cache:
        cache[key] = _embed(tokenizer, encoder, text, penultimate)
    cache.move_to_end(key)
    while len(cache) > MAX_KEPT:
        cache.popitem(last=False)
    return cache[key]


def _embed(tokenizer: Any, encoder: Any, text: str, penultimate: bool) -> Embedded:
    outputs = [_run(encoder, tokenizer, chunk, penultimate) for chunk in tokenize(tokenizer, text).chunks]
    return Embedded(hidden=torch.cat([hidden for hidden, _ in outputs]), pooled=outputs[0][1])


def _run(encoder: Any, tokenizer: Any, chunk: Chunk, penultimate: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    ids = torch.tensor([chunk.ids], device=encoder.device)
    if penultimate:
        output = encoder(ids, output_hidden_states=True)
        hidden, pooled = output.hidden_states[-2][0], output[0][0] if output[0].ndim == 2 else None
    else:
        mask = None
        if getattr(encoder.config, "use_attention_mask", False):
            mask = (torch.arange(ids.shape[1], device=ids.device) < chunk.used + 2).long()[None]
        hidden, pooled = encoder(ids, attention_mask=mask)[0][0], None
    return apply_weights(hidden, chunk.weights, restore_mean=not penultimate), pooled


def apply_weights(hidden: torch.Tensor, weights: tuple[float, ...], *, restore_mean: bool) -> torch.Tensor:
    """Multiply ``hidden`` [tokens, width] by ``weights`` [tokens], keeping its dtype. Returned unchanged if all are 1."""
    if all(weight == 1.0 for weight in weights):
        return hidden
    before = hidden.float()
    after = before * torch.tensor(weights, device=hidden.device)[:, None]
    if restore_mean and before.mean().abs() > MIN_MEAN * before.std() and after.mean() != 0:
        after *= before.mean() / after.mean()
    return after.to(hidden.dtype)
