"""Sound as samples: every kind of .wav, resampling, windows; what is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from lib.errors import InvalidFile, InvalidValue
from lib.model_inputs import dimensions, samples, wave_files
from lib.model_inputs.signature import Signature, Value
from tests.model_inputs.files import wav

FREE = Signature((Value("audio", "float32", ("batch", "samples")),))
SILERO = Signature(
    (Value("input", "float32", ("batch", "n")), Value("state", "float32", (2, "batch", 128)), Value("sr", "int64", ()))
)
FIXED = Signature((Value("x", "float32", (1, 1, 400)),))
WHOLE = Signature((Value("waveform", "int16", (1000,)),))
TABLE = Signature((Value("x", "float32", ("batch", 30)),))
PICTURE = Signature((Value("x", "float32", (1, 3, 8, 8)),))


def tone(rate: int = 16000, seconds: float = 0.25, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def read(tmp_path: Path, data: bytes, signature: Signature, **more: object) -> samples.Samples:
    (tmp_path / "given.wav").write_bytes(data)
    return samples.read(tmp_path / "given.wav", "given.wav", signature, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bits", "kind", "extensible", "near"),
    [(8, 1, False, 2e-2), (16, 1, False, 1e-4), (24, 1, False, 1e-6), (32, 1, False, 1e-6), (24, 1, True, 1e-6),
     (32, 3, False, 1e-6), (64, 3, False, 1e-6), (32, 3, True, 1e-6)],
)  # fmt: skip
@pytest.mark.parametrize("stereo", [False, True])
def test_every_kind(bits: int, kind: int, extensible: bool, near: float, stereo: bool) -> None:
    sound = tone()
    given = np.stack([sound * 1.5, sound * 0.5], axis=1) if stereo else sound
    found, rate = wave_files.decode(wav(given, 22050, bits, kind, extensible, extra=b"LIST\x03\0\0\0abc\0"))
    assert rate == 22050 and found.dtype == np.float32 and found == pytest.approx(sound, abs=near)


@pytest.mark.parametrize("have", [8000, 11025, 16000, 44100, 48000])
def test_resampling_keeps_a_tone(have: int) -> None:
    found = wave_files.resampled(tone(have, 0.5).astype(np.float32), have, 16000)
    assert abs(len(found) - 8000) <= 1
    assert np.abs(found[500:7500] - tone(16000, 0.5)[500:7500]).max() < 0.01


def test_resampling_does_not_fold() -> None:
    """7 kHz cannot be held at 8,000 samples a second: it must not come back as 1 kHz."""
    assert np.abs(wave_files.resampled(tone(16000, 0.5, 7000).astype(np.float32), 16000, 8000)).max() < 0.01


@pytest.mark.parametrize(
    ("signature", "more", "count", "shape"),
    [
        (FREE, {}, 1, (1, 4000)),
        (FREE, {"sizes": {"samples": 512}}, 7, (1, 512)),
        (FREE, {"sizes": {"samples": 512, "batch": 3}}, 7, (1, 512)),
        (FIXED, {}, 10, (1, 1, 400)),
        (WHOLE, {}, 4, (1000,)),
        (SILERO, {"sizes": {"n": 512}}, 7, (1, 512)),
        (FREE, {"sizes": {"samples": 16000}}, 1, (1, 16000)),
    ],
)
def test_windows(tmp_path: Path, signature: Signature, more: dict[str, object], count: int, shape: tuple[int, ...]) -> None:
    found = read(tmp_path, wav(tone()), signature, **more)
    value = signature.inputs[0]
    assert found.kind == "wave" and len(found.rows) == count and found.labels is None
    for row in found.rows:
        assert row[value.name].shape == shape and str(row[value.name].dtype) == value.dtype
    first = found.rows[0][value.name].reshape(-1)[:400] / (32767 if value.dtype == "int16" else 1)
    assert first == pytest.approx(tone()[:400], abs=1e-3)


def test_state_and_rate_beside(tmp_path: Path) -> None:
    found = read(tmp_path, wav(tone(8000), 8000), SILERO, sizes={"n": 256}, rate=8000)
    row = found.rows[0]
    assert row["sr"].shape == () and row["sr"] == 8000 and row["state"].shape == (2, 1, 128) and not row["state"].any()
    assert not any("Resampled" in m for m in found.messages)
    found = read(tmp_path, wav(tone(44100), 44100), SILERO, sizes={"n": 512})
    assert found.rows[0]["sr"] == 16000 and any("Resampled from 44,100 to 16,000" in m for m in found.messages)


BAD = {
    "cut off": (wav(tone())[:-10], FREE, "declares more sound than"),
    "no sound": (wav(np.zeros(0)), FREE, "0 samples"),
    "no format": (b"RIFF\x10\0\0\0WAVEdata\x04\0\0\0abcd", FREE, "no format or no sound"),
    "the head only": (wav(tone())[:30], FREE, "no format or no sound"),
    "packed": (wav(tone()).replace(b"\x01\x00\x01\x00", b"\x55\x00\x01\x00", 1), FREE, r"compressed \(kind 85"),
    "no channel": (wav(tone()).replace(b"\x01\x00\x01\x00", b"\x01\x00\x00\x00", 1), FREE, "0 channels"),
    "a rate of 0": (wav(tone(), 0), FREE, "at 0 Hz"),
    "not finite": (wav(np.array([np.nan, 1.0]), 16000, 32, 3), FREE, "not finite"),
    "big-endian": (b"RIFX" + wav(tone())[4:], FREE, "not supported"),
    "no input for it": (wav(tone()), TABLE, r"no input of this model takes a wave.*x float32 \[batch, 30\]"),
    "a picture network": (wav(tone()), PICTURE, "no input of this model takes a wave"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(tmp_path: Path, case: str) -> None:
    data, signature, said = BAD[case]
    with pytest.raises(InvalidFile, match=said):
        read(tmp_path, data, signature)


def test_a_rate_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="rate was 16; allowed: 1,000 to 384,000"):
        read(tmp_path, wav(tone()), FREE, rate=16)


def test_random_damage_is_our_error_or_a_wave() -> None:
    rng, ends = np.random.default_rng(0), {True: 0, False: 0}
    whole = wav(tone(16000, 0.01), extensible=True)
    for _ in range(1000):
        data = bytearray(whole[: rng.integers(12, len(whole) + 1)] if rng.random() < 0.3 else whole)
        for at in rng.integers(0, min(len(data), 80), 2):
            data[at] = rng.integers(256)
        try:
            found, _ = wave_files.decode(bytes(data))
            assert found.ndim == 1 and len(found)
            ends[True] += 1
        except InvalidFile:
            ends[False] += 1
    assert min(ends.values()) > 50, struct.unpack("<L", whole[4:8])


@pytest.mark.parametrize(
    ("name", "shape", "rate", "wave"),
    [
        ("audio", ("b", "n"), False, True),
        ("input", ("b", "n"), False, False),
        ("input", ("b", "n"), True, True),
        ("x", ("b", 1, "samples"), False, True),
        ("audio", ("b", 80, "n"), False, False),  # a spectrogram
        ("audio", ("b", 128), False, False),
        ("wavInput", (1, 16000), False, True),
    ],
)
def test_what_is_a_wave(name: str, shape: tuple[int | str, ...], rate: bool, wave: bool) -> None:
    value = Value(name, "float32", shape)
    signature = Signature((value, Value("sample_rate", "int64", (1,))) if rate else (value,))
    assert dimensions.is_wave(value, signature) == wave
