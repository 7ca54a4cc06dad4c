"""Rows of detections: only those with equal scores change places."""

from __future__ import annotations

import numpy as np

from lib.convert.proof.ranking import aligned

RANKED = ["boxes", "labels", "scores"]


def detections() -> dict[str, np.ndarray]:
    scores = np.array([0.9, 0.8, 0.8, 0.8, 0.5], np.float32)
    boxes = np.arange(20, dtype=np.float32).reshape(5, 4)
    return {"boxes": boxes, "labels": np.array([1, 2, 3, 4, 5]), "scores": scores}


def reordered(order: list[int]) -> dict[str, np.ndarray]:
    return {name: value[order] for name, value in detections().items()}


def test_rows_of_equal_scores_go_back_to_their_places() -> None:
    found = aligned(detections(), reordered([0, 3, 1, 2, 4]), RANKED)
    for name, value in detections().items():
        np.testing.assert_array_equal(found[name], value)


def test_rows_of_other_scores_stay() -> None:
    """The best and the last detection changed places: wrong, and it must show."""
    ours = reordered([4, 1, 2, 3, 0])
    ours["scores"] = detections()["scores"]
    found = aligned(detections(), ours, RANKED)
    np.testing.assert_array_equal(found["labels"], [5, 2, 3, 4, 1])


def test_a_wrong_value_stays_wrong() -> None:
    ours = reordered([0, 3, 1, 2, 4])
    ours["boxes"][1] += 7
    found = aligned(detections(), ours, RANKED)
    assert np.abs(found["boxes"] - detections()["boxes"]).max() == 7
    assert sorted(found["labels"]) == [1, 2, 3, 4, 5]


def test_what_is_not_ranked_is_left_alone() -> None:
    ours = reordered([0, 3, 1, 2, 4])
    assert aligned(detections(), ours, []) is ours
    assert aligned(detections(), ours, ["boxes"]) is ours
    nothing = {name: value[:0] for name, value in ours.items()}
    assert aligned(nothing, nothing, RANKED)["boxes"].shape == (0, 4)
    short = {name: value[:4] for name, value in ours.items()}
    assert aligned(detections(), short, RANKED) is short
