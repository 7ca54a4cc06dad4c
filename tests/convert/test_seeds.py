"""Whatever seeds a visitor chooses, no check is switched off and nothing is judged on what it was made with."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from lib.convert.formats.pytorch import samples
from lib.convert.proof import cases as proof_cases
from lib.model_inputs.signature import Signature, Value

TWO = Signature((Value("x", "float32", ("batch", 8)), Value("c", "float32", ("batch", 8))))


@pytest.mark.parametrize("seeds", [*permutations((0, 1, 2)), (3, 1, 2), (2**32 - 1, 0, 1), (100, 101, 102)])
def test_an_input_changed_alone_is_another_one_whatever_the_seeds_are(seeds: tuple[int, ...]) -> None:
    made = proof_cases.cases(TWO, seeds)
    first = made[0].arrays
    alone = [case for case in made if case.kind == "alone"]
    assert [case.changed for case in alone] == ["x", "c"]
    for case in alone:
        assert (case.arrays[case.changed] != first[case.changed]).all()
        other = "c" if case.changed == "x" else "x"
        assert (case.arrays[other] == first[other]).all()


@pytest.mark.parametrize("seed", [0, 100, 101, 1000, 1002, 1004])
def test_made_weights_and_ranges_are_calibrated_on_other_inputs_than_the_proofs(seed: int) -> None:
    judged = proof_cases.cases(TWO, (seed, seed + 1, seed + 2))
    known = {case.arrays["x"].tobytes() for case in judged}
    for other in range(2000):
        made = proof_cases.cases(TWO, (other,), stream=proof_cases.CALIBRATION, only_first=True)[0]
        assert made.arrays["x"].tobytes() not in known
    tensors = samples.make(TWO, {"batch": 1}, seed)
    assert np.asarray(tensors[0]).tobytes() not in known
