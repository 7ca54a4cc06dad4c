"""Pictures, speech and token ids drawn from a seed, with the statistics of real ones. Knows no models; numpy only."""

from __future__ import annotations

import numpy as np

RATE = 16000
FORMANTS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))  # a i u e o, Hz
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
