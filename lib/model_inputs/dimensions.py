"""What a dynamic dimension probably is: a batch, a side of a picture, a sequence, a wave. A guess from names and places."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod

from lib.model_inputs.signature import Signature, Value, dtype

WAVE_WORDS = {"audio", "wav", "wave", "waveform", "samples", "speech", "sound", "pcm", "signal"}
RATE_WORDS = {"sr", "rate", "samplerate", "samplingrate"}
# of recurrent networks: [layers, batch, features]
STATES = {"state", "states", "hidden", "h", "c", "hn", "cn", "h0", "c0", "cell", "mems"}
NAMED = (  # the first that fits decides: (kind, words of the symbol)
    ("past", {"past", "cache", "kv"}),
    ("batch", {"batch", "bs", "n", "batchsize"}),
    ("space", {"height", "width", "h", "w"}),
    ("wave", WAVE_WORDS),
    ("sequence", {"sequence", "seq", "tokens", "length", "len", "text", "words", "encoder", "decoder", "t", "s", "l"}),
    ("frames", {"frames", "frame", "time"}),
)


def words(name: str) -> set[str]:
    """``inputAudio_ids`` -> input, audio, ids."""
    return set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()))


def picture_layout(value: Value) -> str | None:
    """NCHW or NHWC where the shape can be a picture's: 1 or 3 channels, everything else batch and space."""
    shape, rank = value.shape, len(value.shape)
    if rank not in (3, 4) or dtype(value.dtype).kind not in "fiu" or value.role in ("tokens", "mask", "positions"):
        return None
    if words(value.name) & {"past", "cache", "state", "states", "hidden"}:
        return None
    if rank == 3 and ((shape[0] not in (1, 3) and shape[-1] not in (1, 3)) or any(isinstance(d, str) for d in shape)):
        return None  # [batch, sequence, 3] is no picture; [3, 224, 224] is
    if rank == 3 and min(d for d in shape if isinstance(d, int) and d not in (1, 3)) < 16:
        return None
    space = {"NCHW": shape[-2:], "NHWC": shape[-3:-1]}
    at = {"NCHW": shape[-3], "NHWC": shape[-1]}
    fits = [w for w in space if at[w] in (1, 3) and all(isinstance(d, str) or d >= 8 for d in space[w])]
    if len(fits) == 2:  # [1, 1, 28, 1]: three channels are likelier than one
        fits.sort(key=lambda w: at[w] != 3)
    return fits[0] if fits else None


def may_be_wave(value: Value) -> bool:
    """Whether the shape can be a wave's: floats or int16, one long axis, the others 1 or a free batch."""
    rank = len(value.shape)
    if (dtype(value.dtype).kind != "f" and value.dtype != "int16") or not 1 <= rank <= 3 or value.role:
        return False
    last = value.shape[-1]
    return not any(isinstance(d, int) and d != 1 for d in value.shape[:-1]) and (isinstance(last, str) or last >= 256)


def is_wave(value: Value, signature: Signature) -> bool:
    """Whether this input takes sound: by shape, and a name or a sample rate beside it that says so."""
    if not may_be_wave(value):
        return False
    last = value.shape[-1]
    if words(value.name) & WAVE_WORDS or (isinstance(last, str) and words(last) & WAVE_WORDS):
        return True
    first = next((v for v in signature.inputs if dtype(v.dtype).kind == "f"), None)
    return first is value and any(is_rate(v) for v in signature.inputs)


def is_rate(value: Value) -> bool:
    """Whether this input is a sample rate: one number, named so."""
    one = all(d == 1 or isinstance(d, str) for d in value.shape) and len(value.shape) <= 1
    return one and bool(words(value.name.replace("_", "")) & RATE_WORDS or words(value.name) & RATE_WORDS)


def kinds(signature: Signature) -> dict[str, str]:
    """Symbol -> batch, space, latent, sequence, wave, frames, past or other, in order of appearance."""
    out: dict[str, str] = {}
    for value in signature.inputs:
        for axis, symbol in enumerate(value.shape):
            if isinstance(symbol, str) and symbol not in out:
                out[symbol] = _kind(symbol, axis, value, signature)
    return out


def _kind(symbol: str, axis: int, value: Value, signature: Signature) -> str:
    layout, rank = picture_layout(value), len(value.shape)
    if layout and axis in ((rank - 2, rank - 1) if layout == "NCHW" else (rank - 3, rank - 2)):
        return "space"
    if is_wave(value, signature) and axis == rank - 1:
        return "wave"
    unnamed = re.fullmatch(r".*\[\d+\]", symbol) is not None  # the input's name and the axis: only the place tells
    if unnamed and axis and words(value.name) & {"past", "cache"}:
        return "past"
    told = set() if unnamed else words(symbol)
    for kind, some in NAMED:
        if told & some:
            return kind if kind != "space" or layout or rank == 3 else "latent"
    if axis == 1 and rank == 3 and isinstance(value.shape[0], int) and words(value.name) & STATES:
        return "batch"
    if axis == 0:
        return "batch" if rank > 1 else "other"
    if rank in (4, 5) and axis >= 2:
        return "latent"
    return "sequence" if rank in (2, 3) and axis == 1 else "other"


def derived(symbol: str, others: Mapping[str, int]) -> int | None:
    """``past_sequence_length + sequence_length`` and ``2*height`` from the sizes of their parts; None where unknown.

    Exporters write such sums as the names of dimensions.
    """
    if symbol.startswith("total_sequence"):
        parts = [n for s, n in others.items() if s.startswith(("past_sequence", "sequence"))]
        return sum(parts) if len(parts) == 2 else None
    if not re.search(r"[+*]", symbol):
        return None
    total = 0
    for term in symbol.split("+"):
        factors = [f.strip(" ()") for f in term.split("*")]
        if any(f not in others and not f.isdigit() for f in factors):
            return None
        total += prod(int(f) if f.isdigit() else others[f] for f in factors)
    return total
