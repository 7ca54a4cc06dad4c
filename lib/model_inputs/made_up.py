"""Made-up inputs that look like real ones: pictures with edges, waves like speech, sentences of token ids.

White noise drives a trained network where it has never been: quantisation and float16 are then judged there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lib.model_inputs import dimensions, integers, preprocessing
from lib.model_inputs.integers import RATE, Ranges
from lib.model_inputs.signature import Signature, Value, dtype

Arrays = dict[str, np.ndarray]
FORMANTS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))  # a i u e o, Hz
FRESH = dimensions.STATES | {"cache", "past", "context"}  # zeros at the start
SPECIAL = 4  # token ids below this are often padding, start, end, unknown


def picture(rng: np.random.Generator, height: int, width: int, channels: int) -> np.ndarray:
    """float32 [height, width, channels] in 0..1: things that hide each other, lit from one side, with fine texture.

    Such "dead leaves" have the edges and the 1/f spectrum of photos (Lee, Mumford & Huang 2001).
    """
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(height, width, 1)
    out = np.broadcast_to(_colour(rng, channels), (height, width, channels)).copy()
    for size in sorted(0.03 * rng.uniform(0.003, 1, 60) ** -0.55, reverse=True):
        across, down = rng.uniform(0, 1, 2)
        turn, squeeze = rng.uniform(0, np.pi), rng.uniform(0.4, 1)
        u = (x - across) * np.cos(turn) + (y - down) * np.sin(turn)
        v = ((y - down) * np.cos(turn) - (x - across) * np.sin(turn)) / squeeze
        inside = np.maximum(abs(u), abs(v)) < size if rng.random() < 0.4 else u * u + v * v < size * size
        shade = 1 + rng.normal(0, 0.5) * u[inside, None]
        out[inside] = _colour(rng, channels) * shade
    out = out * (0.8 + 0.4 * (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1)))[..., None]
    return np.clip(out + 0.04 * _texture(rng, height, width)[..., None], 0, 1).astype(np.float32)


def _colour(rng: np.random.Generator, channels: int) -> np.ndarray:
    """Mostly grey: the channels of a photo go together."""
    return np.clip(rng.beta(1.6, 1.9) + rng.normal(0, 0.1, channels), 0, 1).astype(np.float32)


def _texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise whose amplitude falls as 1/f; standard deviation 1."""
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    f[0, 0] = np.inf
    found = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((height, width))) / f, s=(height, width))
    return found / (found.std() or 1)


def speech(rng: np.random.Generator, samples: int, rate: int = RATE) -> np.ndarray:
    """float32 [samples] in -1..1: vowels of a voice with its overtones, hisses and pauses, four syllables a second."""
    out, at = np.zeros(samples), 0
    pitch = rng.uniform(95, 210)
    while at < samples:
        count = min(int(rate * rng.uniform(0.12, 0.3)), samples - at)
        kind = rng.choice(["vowel", "hiss", "pause"], p=[0.72, 0.16, 0.12])
        t = np.arange(count) / rate
        if kind == "vowel":
            sound = _vowel(rng, t, pitch * rng.uniform(0.85, 1.2), rate)
        elif kind == "hiss":
            sound = 0.12 * np.diff(rng.standard_normal(count + 1))
        else:
            sound = np.zeros(count)
        out[at : at + count] = sound * np.sin(np.pi * (np.arange(count) + 0.5) / max(count, 1)) ** 0.5
        at += count
    out += 1e-3 * rng.standard_normal(samples)
    return (0.5 * out / max(np.abs(out).max(initial=0), 1e-9)).astype(np.float32)


def _vowel(rng: np.random.Generator, t: np.ndarray, pitch: float, rate: int) -> np.ndarray:
    """Overtones of a falling pitch, loud where a vowel's formants are."""
    formants = FORMANTS[rng.integers(len(FORMANTS))]
    phase = 2 * np.pi * pitch * (t - 0.1 * t * t)
    out = np.zeros_like(t)
    for k in range(1, int(min(rate / 2, 5000) / pitch)):
        gain = sum(w / (1 + ((k * pitch - f) / 90) ** 2) for f, w in zip(formants, (1, 0.5, 0.25), strict=True))
        out += (gain + 0.01) / k**0.5 * np.sin(k * phase + rng.uniform(0, 6.3))
    return out


def tokens(rng: np.random.Generator, shape: tuple[int, ...], high: int, lengths: np.ndarray | None = None) -> np.ndarray:
    """int64 ids below ``high``: few words are frequent (Zipf 1949), and each is somewhere in the vocabulary.

    Places from ``lengths`` [...] on are padding: 0.
    """
    low = SPECIAL if high > 16 * SPECIAL else 0
    rank = np.exp(rng.random(shape) * np.log(high - low)) - 1  # log-uniform: Zipf's law
    ids = low + (rank.astype(np.int64) * 7919) % (high - low)
    return ids if lengths is None else np.where(np.arange(shape[-1]) < lengths[..., None], ids, 0)


def lifelike(
    signature: Signature, sizes: Mapping[str, int], rng: np.random.Generator, ranges: Ranges | None = None
) -> Arrays | None:
    """Arrays for every input, as real ones may be; None where nothing better than noise is known of any of them.

    ``ranges`` are values of integer inputs that a search found (``sizes.Found.integers``).
    """
    if not any(_maker(v, signature) for v in signature.inputs):
        return None
    return inputs(signature, sizes, rng, ranges)


def inputs(signature: Signature, sizes: Mapping[str, int], rng: np.random.Generator, ranges: Ranges | None = None) -> Arrays:
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
        made = make(rng, value, shape, lengths.get(shape), ranges)
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
            out[value.name] = _plain(quiet, value, shape, None, ranges).astype(dtype(value.dtype))
        else:
            out[value.name] = np.full(shape, "") if dtype(value.dtype).hasobject else np.zeros(shape, dtype(value.dtype))
    return out


def _maker(value: Value, signature: Signature):  # type: ignore[no-untyped-def]
    """What makes such an input look real, or None."""
    if dimensions.picture_layout(value) and not dimensions.words(value.name) & FRESH:
        return _pictures
    if dimensions.is_wave(value, signature):
        return _waves
    if value.role == "tokens" and value.high and len(value.shape) >= 1:
        return _sentences
    return None


def _pictures(rng: np.random.Generator, value: Value, shape: tuple[int, ...], lengths: object, ranges: object) -> np.ndarray:
    chosen = preprocessing.guess(value, size=_space(value, shape))
    channels = 1 if chosen.channels == "L" else 3
    count = shape[0] if len(shape) == 4 else 1
    if not all(shape):
        return np.zeros(shape, dtype(value.dtype))
    made = [chosen.normalized(picture(rng, *chosen.size, channels) * 255, value.dtype) for _ in range(count)]
    return np.concatenate(made).reshape(shape)


def _space(value: Value, shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[-2:] if dimensions.picture_layout(value) == "NCHW" else shape[-3:-1]


def _waves(rng: np.random.Generator, value: Value, shape: tuple[int, ...], lengths: object, ranges: Ranges) -> np.ndarray:
    rate = next((low for low, high in ranges.values() if low == high and low in (8000, 16000)), RATE)
    rows = [speech(rng, shape[-1], rate) for _ in range(int(np.prod(shape[:-1])))]
    found = np.array(rows, np.float32).reshape(shape)
    return found * 32767 if value.dtype == "int16" else found


def _sentences(
    rng: np.random.Generator, value: Value, shape: tuple[int, ...], lengths: np.ndarray | None, ranges: object
) -> np.ndarray:
    return tokens(rng, shape, value.high or 10, lengths)


def _plain(
    rng: np.random.Generator, value: Value, shape: tuple[int, ...], lengths: np.ndarray | None, ranges: Ranges
) -> np.ndarray:
    kind = dtype(value.dtype)
    if value.role == "mask" and lengths is not None:
        return np.arange(shape[-1]) < lengths[..., None]
    if value.role == "positions" and shape:
        counted = np.broadcast_to(np.arange(shape[-1]), shape)
        return counted % value.high if value.high else counted
    if value.role == "timestep":
        return rng.integers(0, 1000, shape)
    if dimensions.words(value.name) & {"type", "segment"} and kind.kind in "iu":
        return np.zeros(shape, kind)
    if value.name in ranges:
        return integers.arrays(rng, value, shape, ranges[value.name])
    if kind.hasobject:
        return np.array([f"word{k}" for k in rng.integers(0, 10, int(np.prod(shape)))], object).reshape(shape)
    if kind.kind == "b":
        return rng.random(shape) < 0.5
    if kind.kind in "iu":
        if kind.itemsize == 1 and not value.high:
            return rng.integers(np.iinfo(kind).min, np.iinfo(kind).max + 1, shape)
        return rng.integers(0, value.high or 10, shape)
    if kind.kind == "c":
        return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    if "int" in value.dtype:
        return rng.integers(0, 2, shape)
    return np.zeros(shape) if dimensions.words(value.name) & FRESH else rng.standard_normal(shape)
