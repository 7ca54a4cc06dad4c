from __future__ import annotations

from pathlib import Path

import pytest

from lib.train.recipe import Recipe
from lib.train.speeds import Speeds


def test_more_work_takes_longer(tmp_path: Path) -> None:
    speeds = Speeds(tmp_path / "speeds.json")
    small = speeds.estimate(Recipe(epochs=3), 540, 60)
    assert small < speeds.estimate(Recipe(epochs=6), 540, 60) < speeds.estimate(Recipe(epochs=6, image_size=224), 540, 60)
    assert speeds.estimate(Recipe(technique="feature_extraction"), 540, 60) < small


def test_a_short_run_says_nothing_of_a_long_one_s_overhead(tmp_path: Path) -> None:
    """A run of 1 s of training and 9 s around it: thirty times the epochs are 30 s and 9 s, not 300 s."""
    speeds = Speeds(tmp_path / "speeds.json")
    one = Recipe(epochs=1)
    speeds.learn(one, 100, 10, epochs=1.0, whole=10.0)
    assert speeds.estimate(one, 100, 10) == pytest.approx(10.0, rel=0.01)
    assert speeds.estimate(Recipe(epochs=30), 100, 10) == pytest.approx(39.0, rel=0.01)
    assert Speeds(tmp_path / "speeds.json").estimate(one, 100, 10) == pytest.approx(10.0, rel=0.01)  # kept on the disk


def test_the_newest_run_counts_most_and_others_are_left_alone(tmp_path: Path) -> None:
    speeds = Speeds(tmp_path / "speeds.json")
    recipe, other = Recipe(epochs=1), Recipe(epochs=1, framework="keras")
    before = speeds.estimate(other, 100, 10)
    for seconds in (10.0, 10.0, 20.0, 20.0, 20.0):
        speeds.learn(recipe, 100, 10, epochs=seconds, whole=seconds + 10)
    assert 25 < speeds.estimate(recipe, 100, 10) <= 30
    assert speeds.estimate(other, 100, 10) == before


def test_a_damaged_file_is_no_knowledge(tmp_path: Path) -> None:
    (tmp_path / "speeds.json").write_text("{")
    assert Speeds(tmp_path / "speeds.json").estimate(Recipe(), 100, 10) > 0
