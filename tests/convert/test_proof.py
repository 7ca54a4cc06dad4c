"""The verdict on arrays alone: what must be proven, what must fail, and what must stay unproven."""

from __future__ import annotations

import numpy as np
import pytest

from lib.convert.proof.measures import Pair
from lib.convert.proof.verdict import TOLERANCES, decide


def outputs(seed: int, shape: tuple[int, ...] = (4, 10)) -> dict[str, np.ndarray]:
    return {"y": np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}


def pairs(change=lambda y, k: y, *, seeds: int = 3, base=outputs) -> list[Pair]:
    """``change`` makes ours of the expected array of case k."""
    out = []
    for k in range(seeds):
        expected = base(k)
        out.append(Pair("ordinary", expected, {n: change(v.copy(), k) for n, v in expected.items()}))
    return out


def test_equal_outputs_are_proven() -> None:
    found = decide(pairs(), "fp32")
    assert (found.verdict, found.max_abs_error, found.top1_agreement) == ("proven", 0.0, 1.0)
    assert found.outputs[0]["moves"] > 0.5


def test_rounding_is_proven() -> None:
    found = decide(pairs(lambda y, k: y * np.float32(1 + 3e-7)), "fp32")
    assert found.verdict == "proven"
    assert 0 < found.max_rel_error < 1e-6
    assert found.sqnr_db > 100


@pytest.mark.parametrize("precision", list(TOLERANCES))
@pytest.mark.parametrize(
    "change",
    [
        lambda y, k: -y,
        lambda y, k: y[:, ::-1],
        lambda y, k: y.T.copy().reshape(y.shape),
        lambda y, k: np.zeros_like(y),
        lambda y, k: np.full_like(y, np.nan),
        lambda y, k: y[:1],
        lambda y, k: y.astype(np.int64),
        lambda y, k: np.where(np.arange(y.size).reshape(y.shape) == 3, np.inf, y).astype(np.float32),
        lambda y, k: y if k < 2 else y[::-1].copy(),  # right for two seeds of three
    ],
)
def test_wrong_outputs_fail(precision: str, change) -> None:
    found = decide(pairs(change), precision)
    assert found.verdict == "failed", found.reason
    assert found.reason


def test_one_wrong_value_among_many_fails() -> None:
    def change(y: np.ndarray, k: int) -> np.ndarray:
        y.reshape(-1)[17] += 0.01 * (k == 1)
        return y

    assert decide(pairs(change), "fp32").verdict == "failed"


def test_an_error_over_what_rounding_explains_is_not_proven() -> None:
    """Inside rtol 1e-3, but 3e-4 of a value: what one wrong weight of many looks like."""
    found = decide(pairs(lambda y, k: y * np.float32(1 + 3e-4)), "fp32")
    assert found.verdict == "unproven"
    assert "rounding" in found.reason


def test_a_model_that_amplifies_rounding_may_differ_by_as_much() -> None:
    """The source itself moves by 1e-5 of its range when its inputs move by their last bit."""
    chaotic = pairs(lambda y, k: y + np.float32(1e-4))
    assert decide(chaotic, "fp32").verdict != "proven"
    perturbed = [Pair("perturbed", {"y": p.expected["y"] + np.float32(3e-5)}, None) for p in chaotic]
    assert decide([*chaotic, *perturbed], "fp32").verdict == "proven"


def test_noise_never_excuses_more_than_a_thousandth() -> None:
    some = pairs(lambda y, k: y + np.float32(0.05))
    perturbed = [Pair("perturbed", {"y": p.expected["y"] + np.float32(0.5)}, None) for p in some]
    found = decide([*some, *perturbed], "fp32")
    assert found.verdict == "unproven" and "this is inconclusive" in found.reason
    little = Pair("perturbed", {"y": some[-1].expected["y"] + np.float32(0.02)}, None)  # all are of seed 0
    assert decide([*some, little], "fp32").verdict == "failed"


def test_outputs_that_hardly_move_are_never_proven() -> None:
    def still(seed: int) -> dict[str, np.ndarray]:
        return {"y": (1 + 6e-6 * np.random.default_rng(seed).standard_normal((1, 10))).astype(np.float32)}

    found = decide(pairs(base=still), "fp32")
    assert found.verdict == "unproven"
    assert "vacuous" in found.reason


def test_one_still_output_beside_a_moving_one_is_enough() -> None:
    found = decide(pairs(base=lambda k: outputs(k) | {"z": np.ones((2, 3), np.float32)}), "fp32")
    assert found.verdict == "unproven"
    assert "'z'" in found.reason


def test_a_single_case_proves_nothing() -> None:
    assert decide(pairs(seeds=1), "fp32").verdict == "unproven"
    assert decide([], "fp32").verdict == "unproven"


def test_weights_have_no_inputs_and_must_be_equal_bit_by_bit() -> None:
    assert decide(pairs(seeds=1), "exact", inputs=False).verdict == "proven"
    assert decide(pairs(lambda y, k: np.nextafter(y, np.inf), seeds=1), "exact", inputs=False).verdict == "failed"
    zero = [Pair("ordinary", {"y": np.zeros(3, np.float32)}, {"y": -np.zeros(3, np.float32)})]
    assert decide(zero, "exact", inputs=False).verdict == "failed"


def test_a_refused_case_fails_and_says_which() -> None:
    some = [*pairs(), Pair("resized", outputs(7), None, "Got: 3 Expected: 1", {"batch": 3})]
    found = decide(some, "fp32")
    assert found.verdict == "failed"
    assert "batch = 3" in found.reason
    assert "Got: 3" in found.reason


def test_huge_outputs_of_an_extreme_case_do_not_hide_ordinary_errors() -> None:
    some = pairs(lambda y, k: y + np.float32(0.01))
    huge = {"y": np.full((4, 10), 1e9, np.float32)}
    assert decide([*some, Pair("large", huge, huge)], "fp32").verdict == "failed"


def test_a_missing_output_fails() -> None:
    some = [Pair("ordinary", outputs(k) | {"z": outputs(k + 9)["y"]}, outputs(k)) for k in range(3)]
    found = decide(some, "fp32")
    assert found.verdict == "failed"
    assert "missing" in found.reason


def test_integers_must_be_equal_and_move() -> None:
    def whole(k: int) -> dict[str, np.ndarray]:
        return {"label": np.random.default_rng(k).integers(0, 100, (20,))}

    assert decide(pairs(base=whole), "fp32").verdict == "proven"
    assert decide(pairs(lambda y, k: y + (np.arange(20) == 0), base=whole), "fp32").verdict == "failed"
    assert decide(pairs(base=lambda k: {"label": np.arange(5)}), "fp32").verdict == "unproven"


def test_half_precision_and_int8_have_their_own_measures() -> None:
    half = pairs(lambda y, k: y.astype(np.float16))
    assert decide(half, "fp16").verdict == "proven"
    assert decide(half, "fp32").verdict != "proven"
    rng = np.random.default_rng(3)
    noisy = pairs(lambda y, k: y + rng.normal(0, 0.03, y.shape).astype(np.float32))
    assert decide(noisy, "int8").verdict == "proven"
    assert decide(noisy, "fp16").verdict == "failed"
    noisier = pairs(lambda y, k: y + rng.normal(0, 0.5, y.shape).astype(np.float32))
    assert decide(noisier, "int8").verdict == "failed"


def test_nan_on_both_sides_agrees() -> None:
    def odd(k: int) -> dict[str, np.ndarray]:
        y = outputs(k)["y"]
        y[0, 0], y[1, 1] = np.nan, -np.inf
        return {"y": y}

    assert decide(pairs(base=odd), "fp32").verdict == "proven"
    assert decide(pairs(lambda y, k: np.nan_to_num(y), base=odd), "fp32").verdict == "failed"


def test_noise_of_zeros_excuses_zeros_only() -> None:
    """A group norm of zeros amplifies rounding; what it makes of that is no licence for other inputs."""
    ordinary = pairs()
    zeros = Pair("zeros", {"y": np.zeros((4, 10), np.float32)}, {"y": np.full((4, 10), 3e-4, np.float32)})
    assert decide([*ordinary, zeros], "fp32").verdict != "proven"
    perturbed = Pair("perturbed zeros", {"y": np.full((4, 10), 1e-4, np.float32)}, None)
    assert decide([*ordinary, zeros, perturbed], "fp32").verdict == "proven"
    wrong = pairs(lambda y, k: y + np.float32(3e-4))
    assert decide([*wrong, zeros, perturbed], "fp32").verdict != "proven"


def test_noise_of_large_inputs_excuses_large_inputs_only() -> None:
    """An efficientnet far beyond its norms is off by a thousandth from its own float64."""
    ordinary, base = pairs(), 100 * outputs(0)["y"]
    large = Pair("large", {"y": base}, {"y": base + np.float32(0.3)})
    assert decide([*ordinary, large], "fp32").verdict == "failed"
    perturbed = Pair("perturbed large", {"y": base + np.float32(0.05)}, None)
    found = decide([*ordinary, large, perturbed], "fp32")
    assert found.verdict == "proven", found.reason
    assert "moves the source itself" in found.reason
    wrong = pairs(lambda y, k: y + np.float32(3e-4))
    assert decide([*wrong, large, perturbed], "fp32").verdict != "proven"
    far = Pair("large", {"y": base}, {"y": base + np.float32(10)})
    chaos = Pair("perturbed large", {"y": base + np.float32(50)}, None)
    found = decide([*ordinary, far, chaos], "fp32")
    assert (found.verdict, found.cases) == ("proven", 3) and "Not judged: inputs of large" in found.reason
    assert found.beyond[0]["kind"] == "large"
    assert decide([*wrong, far, chaos], "fp32").verdict != "proven"
    calm = Pair("perturbed large", {"y": base + np.float32(1)}, None)
    assert decide([*ordinary, far, calm], "fp32").verdict == "failed"


def test_rows_that_come_and_go_with_the_last_bit_are_not_called_wrong() -> None:
    some = [Pair("ordinary", outputs(k), {"y": outputs(k)["y"][:3]}) for k in range(3)]
    assert decide(some, "fp32").verdict == "failed"
    gone = Pair("perturbed", {"y": outputs(0)["y"][:2]}, None)
    assert decide([*some, gone], "fp32").verdict == "unproven"
    other = [Pair("ordinary", outputs(k), {"y": outputs(k)["y"][:, :3]}) for k in range(3)]
    assert decide([*other, gone], "fp32").verdict == "failed"


def test_int8_is_not_judged_beyond_its_calibration_and_says_what_it_does_there() -> None:
    rng = np.random.default_rng(0)
    fine = pairs(lambda y, k: y + rng.normal(0, 0.01, y.shape).astype(np.float32))
    cut = Pair("large", {"y": 5 * outputs(0)["y"]}, {"y": np.clip(5 * outputs(0)["y"], -2, 2)})
    found = decide([*fine, cut], "int8")
    assert found.verdict == "proven", found.reason
    assert found.beyond[0]["cosine"] < 0.99
    assert decide([*fine, cut], "fp16").verdict == "failed"
    assert decide([*fine, Pair("large", outputs(0), None, "no")], "int8").verdict == "failed"


def test_a_constant_is_seen_even_where_the_output_moves_little() -> None:
    def little(seed: int) -> dict[str, np.ndarray]:
        return {"y": (1 + 0.02 * outputs(seed, (1, 10))["y"]).astype(np.float32)}

    for precision in ("fp32", "fp16"):
        assert decide(pairs(base=little), precision).verdict == "proven"
        assert decide(pairs(lambda y, k: little(0)["y"], base=little), precision).verdict != "proven"
