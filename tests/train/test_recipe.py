from __future__ import annotations

from typing import Any

import pytest

from lib.errors import InvalidValue
from lib.train.recipe import Recipe


def test_defaults_and_forms() -> None:
    assert Recipe().epochs == 3 and Recipe(technique="feature_extraction").epochs == 30
    given = {"epochs": "5", "seed": 7.0, "learning_rate": "3e-4", "augmentation": "true", "image_size": None}
    recipe = Recipe.parse(given)
    assert (recipe.epochs, recipe.seed, recipe.learning_rate, recipe.augmentation) == (5, 7, 3e-4, True)
    assert Recipe.parse(recipe.as_dict()) == recipe


def test_a_new_head_learns_faster_than_its_backbone() -> None:
    assert Recipe(learning_rate=1e-3).head_learning_rate == pytest.approx(1e-2)
    assert Recipe(learning_rate=1e-3, technique="feature_extraction").head_learning_rate == pytest.approx(5e-3)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epochs": -1}, "epochs was -1; allowed: a whole number from 0 to 1000"),
        ({"epochs": 1.5}, "epochs was 1.5; allowed: a whole number"),
        ({"epochs": float("inf")}, "epochs was inf; allowed: a whole number"),
        ({"epochs": True}, "epochs was True"),
        ({"seed": 2**32}, "seed was 4294967296"),
        ({"image_size": 130}, "image_size was 130; allowed: a multiple of 8"),
        ({"image_size": 100_000}, "image_size was 100000"),
        ({"batch_size": 1}, "batch_size was 1"),
        ({"learning_rate": float("nan")}, "learning_rate was nan"),
        ({"learning_rate": "fast"}, "learning_rate was 'fast'; allowed: a number"),
        ({"technique": "magic"}, "technique was 'magic'; allowed: fine_tuning, feature_extraction"),
        ({"mixed_precision": "fp8"}, "mixed_precision was 'fp8'; allowed: no, bf16, fp16"),
        ({"framework": "keras", "mixed_precision": "fp16"}, "no or bf16 with framework keras"),
        ({"technique": "feature_extraction", "augmentation": True}, "features are computed once"),
        ({"augmentation": "perhaps"}, "augmentation was 'perhaps'; allowed: true or false"),
        ({"lr": 1}, "recipe was 'lr'; allowed: framework, backbone"),
        ({"backbone": 3}, "backbone was 3"),
    ],
)
def test_a_bad_value_is_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidValue) as found:
        Recipe.parse(values)
    assert words in found.value.message
