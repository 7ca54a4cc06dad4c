"""Ranges, rounding and the search of int8, on numbers whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from lib.convert.tools.quantise import saturation
from lib.convert.tools.quantise.ranges import METHODS, Ranges
from lib.convert.tools.quantise.rounding import Means, kept_mean
from lib.convert.tools.quantise.search import Layer, search


def ranges(*samples: np.ndarray) -> Ranges:
    found = Ranges()
    for sample in samples:
        found.see({"t": sample})
    for sample in samples:
        found.count({"t": sample})
    return found


def test_ranges_of_a_tensor_with_one_odd_value() -> None:
    values = np.random.default_rng(0).uniform(-1, 2, 30_000)
    odd = np.append(values, 1000.0)
    found = ranges(odd)
    assert found.minmax()["t"] == (values.min(), 1000.0)
    low, high = found.percentile()["t"]
    assert low <= values.min() + 0.5 and 2 <= high < 3
    assert found.entropy()["t"][1] < 1000


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [np.zeros(5), np.full(7, 3.0), np.array([-2.0])], ids=["zeros", "constant", "one"])
def test_ranges_of_constants_stay(method: str, values: np.ndarray) -> None:
    low, high = METHODS[method](ranges(values, values))["t"]
    assert low == pytest.approx(values[0]) and high == pytest.approx(values[0])


def test_ranges_leave_out_what_is_not_finite() -> None:
    found = ranges(np.array([1.0, np.inf, np.nan, -4.0]), np.array([]))
    assert found.minmax() == {"t": (-4.0, 1.0)}


def test_a_percentile_keeps_the_zeros_of_a_relu_and_what_is_above_them() -> None:
    values = np.maximum(np.random.default_rng(0).standard_normal(50_000), 0)
    low, high = ranges(values).percentile()["t"]
    assert low == 0 and 3 < high <= values.max() + 0.01


@pytest.mark.parametrize("per_channel", [True, False])
def test_rounding_keeps_the_mean_and_moves_no_weight_by_a_step(per_channel: bool) -> None:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((20, 64)).astype(np.float32)
    inputs = rng.uniform(0.5, 2, (1, 64))
    made = kept_mean(weights, inputs, 127, per_channel=per_channel)
    scale = np.abs(weights).max(1, keepdims=True) / 127 if per_channel else np.abs(weights).max() / 127
    nearest = np.round(weights / scale) * scale
    assert np.allclose(made / scale, np.round(made / scale), atol=1e-3)
    assert (np.abs(made - weights) < 0.96 * scale).all()
    assert np.abs(made).max() == np.abs(weights).max()

    def shift(rounded: np.ndarray) -> float:
        return float(np.abs(((rounded - weights) * inputs).sum(1)).mean())

    assert shift(made) < 0.1 * shift(nearest)


def test_means_are_of_channels() -> None:
    found = Means()
    for k in (0.0, 2.0):
        found.see("t", np.stack([np.full((4, 5), k), np.full((4, 5), k + 1)])[None], 1)
    assert found.of("t").tolist() == [1.0, 2.0] and found.of("other") is None


class Noisy:
    """Layers that add noise of a known power to class scores when they are quantised."""

    def __init__(self, powers: list[float], methods: dict[str, float]) -> None:
        self.powers = {f"layer{k}": power for k, power in enumerate(powers)}
        self.layers = [Layer(name, "MatMul", 4000) for name in self.powers]
        self.methods, self._scale = list(methods), methods

    def reference(self):  # type: ignore[no-untyped-def]
        return lambda row: {"logits": row["x"]}

    def candidate(self, method, floats=frozenset(), only=None):  # type: ignore[no-untyped-def]
        chosen = [only] if only else [n for n in self.powers if n not in floats]

        def run(row):  # type: ignore[no-untyped-def]
            rng = np.random.default_rng(int(abs(row["x"]).sum() * 1e6))
            noise = {n: rng.standard_normal(row["x"].shape) * self.powers[n] ** 0.5 for n in self.powers}
            return {"logits": (row["x"] + self._scale[method] * sum(noise[n] for n in chosen)).astype(np.float32)}

        return run


def rows() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"x": rng.standard_normal((1, 10)).astype(np.float32)} for _ in range(64)]


def test_the_search_leaves_float_what_hurts_and_no_more() -> None:
    quiet = 1e-5
    found = search(Noisy([quiet, 0.5, quiet, quiet, 0.3, quiet], {"minmax": 1.0}), rows(), 0.95, lambda share: None)
    assert found.floats == {"layer1", "layer4"} and found.good
    assert max(found.noise, key=found.noise.__getitem__) == "layer1"


def test_the_search_takes_the_best_ranges() -> None:
    noisy = Noisy([1e-4] * 3, {"minmax": 30.0, "percentile": 1.0, "entropy": 10.0})
    found = search(noisy, rows(), 0.95, lambda share: None)
    assert found.method == "percentile" and not found.floats and found.good
    assert set(found.measured) == {"minmax", "percentile", "entropy"}
    assert found.result["agreement"] == found.value


def test_the_search_says_what_it_could_not_reach() -> None:
    found = search(Noisy([3.0, 3.0], {"minmax": 1.0}), rows(), 0.95, lambda share: None)
    assert not found.good and found.value is not None and found.value < 0.95


def test_this_machine_multiplies_exactly_or_weights_get_seven_bits() -> None:
    chosen, said = saturation.weights(saturation.AUTOMATIC)
    assert chosen == (saturation.SEVEN if saturation.saturates() else saturation.SIGNED) and "VNNI" in said[0]
    assert saturation.weights(saturation.UNSIGNED) == (saturation.UNSIGNED, [])
