"""Made-up inputs that look like real ones: pictures with edges, waves like speech, sentences of token ids.

White noise drives a trained network where it has never been: quantisation and float16 are then judged there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from lib.model_inputs import dimensions, integers, preprocessing
from lib.model_inputs.integers import RATE, Ranges
from lib.model_inputs.signature import Signature, Value, dtype
from lib.model_inputs.synthesis import picture, speech, tokens

__all__ = ["companions", "inputs", "lifelike", "picture", "speech", "tokens"]
Arrays = dict[str, np.ndarray]
FRESH = dimensions.STATES | {"cache", "past", "context"}  # zeros at the start


def lifelike(
    signature: Signature,
    sizes: Mapping[str, int],
    rng: np.random.Generator,
    ranges: Ranges | None = None,
    hints: Mapping[str, Any] | None = None,
) -> Arrays | None:
    """Arrays for every input, as real ones may be; None where nothing better than noise is known of any of them.

    ``ranges`` are values of integer inputs that a search found (``sizes.SizeSearch.integers``), ``hints`` what the model's
    files say of its pictures (``hints.py``).
    """
    if not any(_maker(v, signature) for v in signature.inputs):
        return None
    return inputs(signature, sizes, rng, ranges, hints)


def inputs(
    signature: Signature,
    sizes: Mapping[str, int],
    rng: np.random.Generator,
    ranges: Ranges | None = None,
    hints: Mapping[str, Any] | None = None,
) -> Arrays:
    """As ``lifelike``, with noise where nothing is known."""
    ranges = integers.ranges(signature, sizes) | (ranges or {})
    lengths: dict[tuple[int, ...], np.ndarray] = {}  # ids, masks and types of one shape speak of the same sentences
    out = {}
    for value in signature.inputs:
        shape = tuple(sizes[d] if isinstance(d, str) else d for d in value.shape)
        if shape and shape not in lengths:
            most = shape[-1]
            lengths[shape] = np.clip(np.rint(most * rng.lognormal(-0.3, 0.4, shape[:-1])), min(2, most), most).astype(int)
        make = _maker(value, signature) or _plain
        made = make(_Wish(rng, value, shape, lengths.get(shape), ranges, hints or {}))
        out[value.name] = made if made.dtype == dtype(value.dtype) else made.astype(dtype(value.dtype))
    return out


def companions(signature: Signature, sizes: Mapping[str, int], given: set[str]) -> Arrays:
    """Values for the inputs beside the ``given`` ones that a fresh start has: states of zeros, masks of ones."""
    quiet = np.random.default_rng(0)
    ranges = {n: (high, high) for n, (_, high) in integers.ranges(signature, sizes).items()}
    out = {}
    for value in (v for v in signature.inputs if v.name not in given):
        shape = tuple(sizes[d] if isinstance(d, str) else d for d in value.shape)
        if value.role == "mask" or dtype(value.dtype).kind == "b":
            out[value.name] = np.ones(shape, dtype(value.dtype))
        elif value.role == "positions" or value.name in ranges:
            out[value.name] = _plain(_Wish(quiet, value, shape, None, ranges, {})).astype(dtype(value.dtype))
        else:
            out[value.name] = np.full(shape, "") if dtype(value.dtype).hasobject else np.zeros(shape, dtype(value.dtype))
    return out


@dataclass(slots=True)
class _Wish:
    """One input to be made; ``lengths`` of the sentences in its rows."""

    rng: np.random.Generator
    value: Value
    shape: tuple[int, ...]
    lengths: np.ndarray | None
    ranges: Ranges
    hints: Mapping[str, Any]


def _maker(value: Value, signature: Signature) -> Callable[[_Wish], np.ndarray] | None:
    """What makes such an input look real, or None."""
    if dimensions.picture_layout(value) and not dimensions.words(value.name) & FRESH:
        return _pictures
    if dimensions.is_wave(value, signature):
        return _waves
    if value.role == "tokens" and value.high and len(value.shape) >= 1:
        return _sentences
    return None


def _pictures(wish: _Wish) -> np.ndarray:
    value, shape = wish.value, wish.shape
    if not all(shape):
        return np.zeros(shape, dtype(value.dtype))
    space = shape[-2:] if dimensions.picture_layout(value) == "NCHW" else shape[-3:-1]
    known = {k: v for k, v in wish.hints.items() if k in ("normalization", "channels", "input")}
    chosen = preprocessing.guess(value, known, size=space)
    channels = 1 if chosen.channels == "L" else 3
    count = shape[0] if len(shape) == 4 else 1
    made = [chosen.normalized(picture(wish.rng, *space, channels) * 255, value.dtype) for _ in range(count)]
    return np.concatenate(made).reshape(shape)


def _waves(wish: _Wish) -> np.ndarray:
    rate = next((low for low, high in wish.ranges.values() if low == high and low in (8000, 16000)), RATE)
    rows = [speech(wish.rng, wish.shape[-1], rate) for _ in range(prod(wish.shape[:-1]))]
    found = np.array(rows, np.float32).reshape(wish.shape)
    return found * 32767 if wish.value.dtype == "int16" else found


def _sentences(wish: _Wish) -> np.ndarray:
    return tokens(wish.rng, wish.shape, wish.value.high or 10, wish.lengths)


def _plain(wish: _Wish) -> np.ndarray:
    rng, value, shape, kind = wish.rng, wish.value, wish.shape, dtype(wish.value.dtype)
    told = dimensions.words(value.name)
    if value.role == "mask" and wish.lengths is not None:
        return np.arange(shape[-1]) < wish.lengths[..., None]
    if value.role == "positions" and shape:
        counted = np.broadcast_to(np.arange(shape[-1]), shape)
        return counted % value.high if value.high else counted
    if value.role == "timestep":
        return rng.integers(0, 1000, shape)
    if told & {"type", "segment"} and kind.kind in "iu":
        return np.zeros(shape, kind)
    if value.name in wish.ranges:
        return integers.arrays(rng, value, shape, wish.ranges[value.name])
    if kind.hasobject:
        return np.array([f"word{k}" for k in rng.integers(0, 10, prod(shape))], object).reshape(shape)
    if kind.kind == "b":
        return rng.random(shape) < 0.5
    if kind.kind in "iu":
        whole = kind.itemsize == 1 and not value.high  # pixels, or quantised values
        low, high = (np.iinfo(kind).min, np.iinfo(kind).max + 1) if whole else (0, value.high or 10)
        return rng.integers(low, high, shape)
    if kind.kind == "c":
        return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    if "int" in value.dtype:  # 4 bits
        return rng.integers(0, 2, shape)
    return np.zeros(shape) if told & FRESH else rng.standard_normal(shape)
