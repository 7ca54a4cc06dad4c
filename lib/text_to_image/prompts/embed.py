"""Chunks of tokens through a text encoder, and their weights on what comes out.

Emphasis multiplies the encoder's output at a word by the word's weight. A1111's web UI then scales the chunk so that its
mean is as before (``sd_emphasis.py``, "Original", its default), since pictures of a louder chunk have artifacts; and offers
to leave that out ("No norm", "seems to work better for SDXL"). Here: its default for Stable Diffusion 1 and 2, "No norm" for
SDXL, whose encoders' means are close to zero, so that the quotient of two of them is noise.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch

from lib.text_to_image.prompts.chunks import Chunk, tokenize

# Of the standard deviation: a mean below it is chance, and is not restored.
MIN_MEAN = 0.01
MAX_KEPT = 16  # texts of an encoder

_CACHE: WeakKeyDictionary[Any, OrderedDict[tuple[str, bool], Embedded]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """``hidden`` [tokens, width], the chunks one after another; ``pooled`` [width] of the first, where there is one."""

    hidden: torch.Tensor
    pooled: torch.Tensor | None


def embed(tokenizer: Any, encoder: Any, text: str, *, penultimate: bool = False) -> Embedded:
    """``encoder`` is a CLIPTextModel, or with ``penultimate`` (SDXL's layer) also one with a projection.

    One call a chunk, so that a chunk is the same whatever follows it. What was asked for lately is remembered: the
    pictures of one request have one prompt, and most have the same negative one.
    """
    if any(module._forward_hooks for module in encoder.modules()):  # LoRAs of this row alone (loras/lora_rows.py)
        return _embed(tokenizer, encoder, text, penultimate)
    kept = _CACHE.setdefault(encoder, OrderedDict())
    key = text, penultimate
    if key not in kept:
        kept[key] = _embed(tokenizer, encoder, text, penultimate)
    kept.move_to_end(key)
    while len(kept) > MAX_KEPT:
        kept.popitem(last=False)
    return kept[key]


def _embed(tokenizer: Any, encoder: Any, text: str, penultimate: bool) -> Embedded:
    outputs = [_run(encoder, tokenizer, chunk, penultimate) for chunk in tokenize(tokenizer, text).chunks]
    return Embedded(hidden=torch.cat([hidden for hidden, _ in outputs]), pooled=outputs[0][1])


def _run(encoder: Any, tokenizer: Any, chunk: Chunk, penultimate: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    ids = torch.tensor([chunk.ids], device=encoder.device)
    if penultimate:
        found = encoder(ids, output_hidden_states=True)
        hidden, pooled = found.hidden_states[-2][0], found[0][0] if found[0].ndim == 2 else None
    else:
        mask = None
        if getattr(encoder.config, "use_attention_mask", False):
            mask = (torch.arange(ids.shape[1], device=ids.device) < chunk.used + 2).long()[None]
        hidden, pooled = encoder(ids, attention_mask=mask)[0][0], None
    return apply_weights(hidden, chunk.weights, restore_mean=not penultimate), pooled


def apply_weights(hidden: torch.Tensor, weights: tuple[float, ...], *, restore_mean: bool) -> torch.Tensor:
    """``hidden`` [tokens, width] times ``weights`` [tokens], in its own dtype. Untouched, to the bit, where all are 1."""
    if all(weight == 1.0 for weight in weights):
        return hidden
    before = hidden.float()
    after = before * torch.tensor(weights, device=hidden.device)[:, None]
    if restore_mean and before.mean().abs() > MIN_MEAN * before.std() and after.mean() != 0:
        after *= before.mean() / after.mean()
    return after.to(hidden.dtype)
