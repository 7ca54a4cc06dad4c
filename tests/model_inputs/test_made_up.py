"""Made-up inputs: like photos, speech and sentences, in the model's shapes and dtypes; the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from lib.model_inputs import made_up
from lib.model_inputs.signature import Signature, Value


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def slope(picture: np.ndarray) -> float:
    """Of the amplitude over the frequency, both as logarithms: about -1 for photos, 0 for white noise."""
    grey = picture.mean(axis=2)
    window = np.outer(np.hanning(len(grey)), np.hanning(len(grey)))
    amplitude = np.abs(np.fft.fft2((grey - grey.mean()) * window))
    f = np.hypot(np.fft.fftfreq(len(grey))[:, None], np.fft.fftfreq(len(grey))[None])
    some = (f > 0.02) & (f < 0.4)
    return float(np.polyfit(np.log(f[some]), np.log(amplitude[some] + 1e-9), 1)[0])


def test_pictures_have_the_spectrum_of_photos() -> None:
    found = [slope(made_up.picture(rng(k), 128, 128, 3)) for k in range(8)]
    assert -1.8 < np.mean(found) < -0.8
    assert abs(slope(rng().random((128, 128, 3)))) < 0.2  # the measure tells noise


def test_pictures_have_edges_and_plausible_colours() -> None:
    """Kurtosis of neighbours' differences: 3 for noise, far more where flat areas meet."""
    for k in range(4):
        found = made_up.picture(rng(k), 96, 96, 3)
        assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1 and found.std() > 0.1
        steps = np.diff(found.mean(axis=2), axis=1).ravel()
        assert np.mean((steps - steps.mean()) ** 4) / steps.var() ** 2 > 6
        channels = np.corrcoef(found.reshape(-1, 3).T)
        assert channels[np.triu_indices(3, 1)].min() > 0.5


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 3), (2, 1, 1), (5, 300, 3)])
def test_pictures_of_odd_sizes(shape: tuple[int, int, int]) -> None:
    found = made_up.picture(rng(), *shape)
    assert found.shape == shape and np.isfinite(found).all()


def test_speech() -> None:
    """Loud and quiet parts, most of it below 4 kHz, with overtones of a voice's pitch."""
    found = made_up.speech(rng(), 64000)
    assert found.dtype == np.float32 and np.abs(found).max() == pytest.approx(0.5)
    loudness = np.sqrt((found.reshape(-1, 400) ** 2).mean(axis=1))
    assert loudness.min() < 0.02 * loudness.max()
    spectrum = np.abs(np.fft.rfft(found)) ** 2
    assert spectrum[:16000].sum() > 0.8 * spectrum.sum()
    best = max((found[a : a + 800] for a in range(0, 63200, 400)), key=lambda part: float((part**2).sum()))
    echo = np.correlate(best, best, "full")[len(best) - 1 :]
    assert echo[60:200].max() > 0.5 * echo[0]  # a period between 80 and 267 Hz


@pytest.mark.parametrize("samples", [0, 1, 2, 300, 12345])
def test_speech_of_any_length(samples: int) -> None:
    found = made_up.speech(rng(), samples, 8000)
    assert found.shape == (samples,) and np.isfinite(found).all()


@pytest.mark.parametrize("high", [2, 10, 100, 30000])
def test_tokens(high: int) -> None:
    found = made_up.tokens(rng(), (64, 50), high)
    assert found.min() >= 0 and found.max() < high
    counts = np.sort(np.bincount(found.ravel(), minlength=high))[::-1]
    if high > 50:
        assert counts[:10].sum() > 0.15 * counts.sum()  # few words are frequent
        assert (counts > 0).sum() > 0.2 * min(high, counts.sum() / 3)


BERT = Signature(
    (
        Value("input_ids", "int64", ("b", "s"), "tokens", 500),
        Value("attention_mask", "int64", ("b", "s"), "mask"),
        Value("token_type_ids", "int64", ("b", "s")),
        Value("position_ids", "int64", ("b", "s"), "positions", 512),
    )
)


def test_sentences_and_their_masks() -> None:
    found = made_up.lifelike(BERT, {"b": 16, "s": 40}, rng())
    assert found is not None
    mask = found["attention_mask"]
    lengths = mask.sum(axis=1)
    assert len(set(lengths.tolist())) > 4 and lengths.min() >= 2 and lengths.max() <= 40
    assert (found["input_ids"][mask == 0] == 0).all() and (found["input_ids"][mask == 1] > 3).all()
    assert not found["token_type_ids"].any() and (found["position_ids"] == np.arange(40)).all()


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        (Value("x", "float32", (2, 3, 32, 48)), -2.2, 2.7),  # ImageNet's
        (Value("x", "float32", ("b", 32, "w", 3)), -1, 1),
        (Value("x", "float16", (1, 1, 28, 28)), 0, 1),
        (Value("pixels", "float32", (1, 3, 32, 32)), 0, 255),
        (Value("x", "uint8", (1, 32, 32, 3)), 0, 255),
        (Value("x", "int8", (1, 32, 32, 3)), -128, 127),
        (Value("x", "float32", (3, 32, 32)), -2.2, 2.7),
        (Value("audio", "float32", ("b", 512)), -1, 1),
        (Value("audio", "int16", (1, 512)), -32768, 32767),
    ],
)
def test_ranges(value: Value, low: float, high: float) -> None:
    sizes = {"b": 2, "w": 40}
    found = made_up.lifelike(Signature((value,)), sizes, rng())
    assert found is not None
    array = found[value.name]
    assert array.shape == tuple(sizes.get(d, d) for d in value.shape) and str(array.dtype) == value.dtype
    assert array.min() >= low and array.max() <= high and np.ptp(array.astype(float)) > 0.4 * (high - low)
    again, other = (made_up.lifelike(Signature((value,)), sizes, rng(k)) for k in (0, 1))
    assert np.array_equal(array, again[value.name]) and not np.array_equal(array, other[value.name])


def test_hints_of_the_model() -> None:
    signature = Signature((Value("x", "float32", (1, 3, 32, 32)),))
    found = made_up.lifelike(signature, {}, rng(), hints={"normalization": "0..255", "labels": ["a"], "size": [9, 9]})
    assert found is not None and found["x"].max() > 100 and found["x"].shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    "value",
    [
        Value("past_key_values.0.key", "float32", ("b", 3, "past", 64)),
        Value("x", "float32", ("b", 30)),
        Value("latents", "float32", ("b", 4, 64, 64)),
        Value("x", "int64", ("b", 3)),
        Value("x", "string", ("b", 1)),
        Value("x", "float32", ()),
    ],
)
def test_what_noise_is_as_good_for(value: Value) -> None:
    assert made_up.lifelike(Signature((value,)), {"b": 2, "past": 8}, rng()) is None


@pytest.mark.parametrize(
    "kind",
    [
        "float16",
        "bfloat16",
        "float64",
        "complex64",
        "bool",
        "uint8",
        "int4",
        "uint4",
        "int64",
        "uint64",
        "string",
        "float8_e5m2",
    ],
)
def test_every_dtype_can_be_made(kind: str) -> None:
    found = made_up.inputs(Signature((Value("x", kind, (3, 5)),)), {}, rng())["x"]
    assert found.shape == (3, 5) and (found.dtype == object if kind == "string" else str(found.dtype) == kind)


def test_a_model_that_mixes_kinds() -> None:
    """Silero's: the wave is like speech, the state a fresh one, the rate a rate."""
    silero = Signature(
        (Value("input", "float32", ("b", "n")), Value("state", "float32", (2, "b", 128)), Value("sr", "int64", ()))
    )
    found = made_up.lifelike(silero, {"b": 2, "n": 512}, rng())
    assert found is not None and found["sr"] == 16000 and not found["state"].any() and found["input"].std() > 0.02
