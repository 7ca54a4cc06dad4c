"""The two tests on numbers whose distribution is known, and the sample that they compare with."""

from __future__ import annotations

import numpy as np
import pytest

from lib.train.watch.drift import LEVEL, PERMUTATIONS, Basis, ks, mmd, permuted
from lib.train.watch.reference import draw


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


def test_a_basis_keeps_distances_and_tells_what_it_does_not_span() -> None:
    features = normal(0, 30, width=10) * np.array([9, 5, 3, 1, 1, 1, 1, 1, 1, 1], np.float32)
    basis = Basis.of(features, 3)
    found = basis(features)
    assert found.shape == (30, 4) and found.dtype == np.float32
    assert (found**2).sum(axis=1) == pytest.approx(((features - features.mean(axis=0)) ** 2).sum(axis=1), rel=1e-4)
    outside = basis(features.mean(axis=0)[None] + 100 * np.linalg.svd(basis.rows)[2][-1])
    assert outside[0, :3] == pytest.approx(0, abs=1e-3) and outside[0, 3] == pytest.approx(100, rel=1e-4)


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
