"""The two tests on numbers whose distribution is known, and the sample that they compare with."""

from __future__ import annotations

import numpy as np
import pytest

from lib.train.monitoring.drift import LEVEL, PERMUTATIONS, Basis, ks, mmd, permuted
from lib.train.monitoring.reference import draw


def normal(seed: int, count: int, shift: float = 0.0, width: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (count, width)).astype(np.float32)


@pytest.mark.parametrize("test", [mmd, ks])
def test_windows_of_the_same_distribution_are_flagged_as_often_as_the_level_says(test) -> None:  # type: ignore[no-untyped-def]
    found = np.array([test(normal(seed, 80), normal(1000 + seed, 40)) for seed in range(200)])
    assert (found < LEVEL).sum() <= 7  # 2 expected; 8 or more in one of 1000
    assert test is ks or 0.35 < found.mean() < 0.65


@pytest.mark.parametrize("test", [mmd, ks])
def test_a_shift_is_found(test) -> None:  # type: ignore[no-untyped-def]
    assert test(normal(0, 200), normal(1, 100, 0.8)) < LEVEL


def test_mmd_sees_what_no_single_component_shows() -> None:
    """The same margins, another dependence."""
    first, other = normal(0, 400, width=2), normal(1, 200, width=2)
    other[:, 1] = other[:, 0]
    assert mmd(first, other) < LEVEL


def test_the_least_p_is_one_of_all_divisions() -> None:
    assert mmd(normal(0, 60), normal(1, 60, 9.0)) == pytest.approx(1 / (PERMUTATIONS + 1))


def test_the_same_window_gives_the_same_p() -> None:
    assert mmd(normal(0, 60), normal(1, 30)) == mmd(normal(0, 60), normal(1, 30))


@pytest.mark.parametrize("test", [mmd, ks])
def test_pictures_that_are_all_alike_are_no_change(test) -> None:  # type: ignore[no-untyped-def]
    assert test(np.ones((60, 8)), np.ones((30, 8))) == 1.0


def test_permutations_compare_with_the_division_itself() -> None:
    kernel = np.kron(np.eye(2), np.ones((20, 20)))  # two groups that have nothing to do with each other
    rng = np.random.default_rng(0)
    assert permuted(kernel, 20, 99, rng) == 0.01
    mixed = np.arange(40).reshape(2, 20).T.ravel()
    assert permuted(kernel[np.ix_(mixed, mixed)], 20, 99, rng) > 0.2


def test_principal_components_keep_the_widest_directions() -> None:
    features = normal(0, 300, width=10) * np.array([9, 5, 3, 1, 1, 1, 1, 1, 1, 1], np.float32) + 7
    found = Basis.principal(features, 3)(features)
    assert found.shape == (300, 3) and found.dtype == np.float32
    assert found.std(axis=0) == pytest.approx([9, 5, 3], rel=0.15) and found.mean(axis=0) == pytest.approx(0, abs=1e-3)
    assert Basis.principal(features[:3], 16).rows.shape == (2, 10)  # no more than the pictures span


def test_a_random_projection_keeps_distances_and_knows_no_picture() -> None:
    features = np.abs(normal(0, 40, width=1280))
    found = Basis.random(1280, 128, np.random.default_rng(0))(features)
    pairs = np.triu_indices(40, 1)
    before, after = (np.linalg.norm(x[:, None] - x[None], axis=2)[pairs] for x in (features, found))
    assert found.shape == (40, 128) and np.abs(after / before - 1).max() < 0.35 and abs(np.mean(after / before) - 1) < 0.03


def test_components_fitted_to_the_reference_would_flag_unchanged_pictures() -> None:
    """The trap that the random projection avoids: what a basis was fitted to looks different from what is new."""
    reference, new = normal(0, 300, width=1280), normal(1, 200, width=1280)
    fitted, random = Basis.principal(reference, 64), Basis.random(1280, 128, np.random.default_rng(9))
    assert mmd(fitted(reference), fitted(new)) < LEVEL < mmd(random(reference), random(new))


def test_the_sample_has_each_class_at_its_share_in_random_order() -> None:
    """The trap: a folder's order is class order, and its first pictures miss most classes."""
    labels = [0] * 300 + [1] * 150 + [2] * 50
    drawn = draw(labels, range(500), 100, np.random.default_rng(0))
    assert len(set(drawn)) == 100
    counts = np.bincount([labels[i] for i in drawn])
    assert np.abs(counts - [60, 30, 10]).max() <= 1
    assert len({labels[i] for i in drawn[:12]}) > 1 and drawn != sorted(drawn)
    assert sorted(draw(labels, range(500), 1000, np.random.default_rng(0))) == list(range(500))
    assert draw(labels, range(500), 100, np.random.default_rng(1)) != drawn
