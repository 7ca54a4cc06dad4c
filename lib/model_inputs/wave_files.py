"""A .wav file as samples: mono, at the model's rate, cut into windows of the model's size. Standard library and numpy."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from math import gcd
from pathlib import Path

import numpy as np

from lib.errors import InvalidFile, InvalidValue
from lib.model_inputs import dimensions, fitting, integers, made_up, sizes
from lib.model_inputs.signature import Signature, Value

MAX_BYTES = 64 << 20
RATES = (1000, 384_000)
AGAIN = "Save it as an ordinary .wav (PCM of 8 to 32 bits, or floats)."
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


def read(path: Path, signature: Signature, fixed: Mapping[str, int], rate: int | None) -> tuple[list[dict], list[str]]:
    """(rows, messages). ``rate``: samples a second that the model wants; 16,000 where nobody says. Raises InvalidFile."""
    value = wave_input(signature)
    if rate is not None and not RATES[0] <= rate <= RATES[1]:
        raise InvalidValue("rate", rate, f"{RATES[0]:,} to {RATES[1]:,} samples a second")
    if path.stat().st_size > MAX_BYTES:
        raise InvalidFile(f"The .wav has more than {MAX_BYTES >> 20} MB. Send a shorter one.")
    wave, have = decode(path.read_bytes())
    to, messages = rate or integers.RATE, []
    if have != to:
        wave = resampled(wave, have, to)
        messages.append(
            f"Resampled from {have:,} to {to:,} samples a second" + ("." if rate else ", as speech models expect.")
        )
    last = value.shape[-1]
    window = last if isinstance(last, int) else fixed.get(last) or min(sizes.propose(signature)[last], max(len(wave), 1))
    if len(wave) < window:
        messages.append(f"The sound has {len(wave):,} samples; it is padded with silence to {window:,}.")
        wave = np.pad(wave, (0, window - len(wave)))
    count = len(wave) // window
    if count > fitting.MAX_SAMPLES:
        messages.append(f"The first {fitting.MAX_SAMPLES:,} of {count:,} windows are used.")
    cut = [wave[k * window : (k + 1) * window] for k in range(min(count, fitting.MAX_SAMPLES))]
    messages.insert(0, f"Sound: {len(cut):,} windows of {window:,} samples.")
    bound = sizes.propose(signature) | dict(fixed) | ({last: window} if isinstance(last, str) else {})
    shape = tuple(
        bound[d] if isinstance(d, str) and k else d if isinstance(d, int) else 1 for k, d in enumerate(value.shape)
    )
    shape = (*shape[:-1], window)
    bound |= {d: n for d, n in zip(value.shape, shape, strict=True) if isinstance(d, str)}
    beside = made_up.companions(signature, bound, {value.name})
    for other in signature.inputs:
        if dimensions.is_rate(other):
            beside[other.name] = np.full_like(beside[other.name], to)
    if beside:
        messages.append(f"Besides the sound, {', '.join(list(beside)[:8])}: initial values, for every window.")
    scale = 32767 if value.dtype == "int16" else 1
    kind = np.dtype(value.dtype)
    rows = [
        {v.name: np.ascontiguousarray(np.broadcast_to(one * scale, shape), kind) if v is value else beside[v.name]
         for v in signature.inputs}
        for one in cut
    ]  # fmt: skip
    return rows, messages


def wave_input(signature: Signature) -> Value:
    """The input that takes sound: by name or rate, else the only one of one long axis. Raises InvalidFile."""
    named = [v for v in signature.inputs if dimensions.is_wave(v, signature)]
    long = [v for v in signature.inputs if dimensions.may_be_wave(v)]
    if named or len(long) == 1:
        return (named or long)[0]
    raise InvalidFile(
        f"A .wav was sent, but no input of this model takes a wave of one dimension: {fitting.inputs_text(signature)}. "
        "Send an .npz with the output of its preprocessing."
    )


def decode(data: bytes) -> tuple[np.ndarray, int]:
    """float32 [samples] in -1..1, the channels' mean, and the rate. Raises InvalidFile."""
    if data[:4] != b"RIFF":
        raise InvalidFile(f"The .wav is RF64 or big-endian, which is not supported. {AGAIN}")
    format_, sound, at = None, None, 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sL", data, at)
        body = data[at + 8 : at + 8 + size]
        if name == b"fmt ":
            format_ = body
        elif name == b"data":
            sound, whole = body, len(body) == size
            break
        at += 8 + size + size % 2
    if format_ is None or len(format_) < 16 or sound is None:
        raise InvalidFile("The .wav is cut off or damaged: it has no format or no sound. Upload the whole file again.")
    if not whole:
        raise InvalidFile(
            f"The .wav is cut off: its header declares more sound than its {len(sound):,} bytes. Upload the whole "
            f"file again."
        )
    kind, channels, rate, _, block, bits = struct.unpack_from("<HHLLHH", format_)
    if kind == EXTENSIBLE and len(format_) >= 26:
        (kind,) = struct.unpack_from("<H", format_, 24)
    if not 1 <= channels <= 64 or not RATES[0] <= rate <= RATES[1] or block != channels * bits // 8 or not block:
        raise InvalidFile(
            f"The .wav declares {channels} channels of {bits} bits at {rate:,} Hz, which is impossible. {AGAIN}"
        )
    values = _values(sound[: len(sound) // block * block], kind, bits).reshape(-1, channels).mean(axis=1, dtype=np.float32)
    if not len(values):
        raise InvalidFile("The .wav holds no sound: 0 samples.")
    if not np.isfinite(values).all():
        raise InvalidFile("The .wav holds values that are not finite. Save it again.")
    return values, rate


def _values(sound: bytes, kind: int, bits: int) -> np.ndarray:
    if kind == FLOAT and bits in (32, 64):
        return np.frombuffer(sound, f"<f{bits // 8}").astype(np.float32)
    if kind == PCM and bits == 8:
        return (np.frombuffer(sound, np.uint8).astype(np.float32) - 128) / 128
    if kind == PCM and bits in (16, 32):
        return np.frombuffer(sound, f"<i{bits // 8}").astype(np.float32) / 2.0 ** (bits - 1)
    if kind == PCM and bits == 24:
        padded = np.zeros((len(sound) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(sound, np.uint8).reshape(-1, 3)
        return padded.view("<i4")[:, 0].astype(np.float32) / 2.0**31
    raise InvalidFile(f"The .wav is compressed (kind {kind}, {bits} bits), which is not supported. {AGAIN}")


def resampled(wave: np.ndarray, have: int, to: int) -> np.ndarray:
    """float32 at another rate: what both rates can hold of the spectrum is kept."""
    step = have // gcd(have, to)  # so many samples become a whole number of others
    padded = np.pad(wave, (0, -len(wave) % step))
    count = len(padded) // step * (to // gcd(have, to))
    spectrum = np.fft.rfft(padded)
    kept = np.zeros(count // 2 + 1, spectrum.dtype)
    shared = min(len(kept), len(spectrum))
    kept[:shared] = spectrum[:shared]
    found = np.fft.irfft(kept, count) * (count / len(padded))
    return found[: max(1, round(len(wave) * to / have))].astype(np.float32)
