"""Whether a lossy file does its task: which measure is taken for which output, and when it is good enough."""

from __future__ import annotations

import numpy as np
import pytest

from lib.convert.proof.quality import Quality, measure, measure_all

RNG = np.random.default_rng(0)


def rows(values: np.ndarray) -> list[np.ndarray]:
    """One input each."""
    return [row[None] for row in values]


def scores(count: int = 100, classes: int = 10) -> np.ndarray:
    return RNG.standard_normal((count, classes)).astype(np.float32) * RNG.uniform(1, 5, (count, 1)).astype(np.float32)


def swapped(values: np.ndarray, some: int) -> np.ndarray:
    """The first ``some`` rows get another top class."""
    out = values.copy()
    for row in out[:some]:
        row[(row.argmax() + 1) % len(row)] = row.max() + 1
    return out


@pytest.mark.parametrize(("changed", "good"), [(0, True), (5, True), (6, False), (50, False)])
def test_class_scores_are_judged_by_their_top_class(changed: int, good: bool) -> None:
    before = scores()
    found = measure("logits", rows(before), rows(swapped(before, changed)), "fp16")
    assert (found.metric, found.value, found.good) == ("top-1 agreement", (100 - changed) / 100, good)
    low, high = found.interval or (0, 0)
    assert low <= found.value <= high
    assert bool(found.reason) is not good


def test_the_floor_can_be_set() -> None:
    before = scores()
    after = rows(swapped(before, 8))
    assert not measure("logits", rows(before), after, "int8").good
    assert measure("logits", rows(before), after, "int8", min_agreement=0.9).good


def test_a_loss_of_accuracy_that_chance_does_not_explain_is_not_good() -> None:
    before = scores(400)
    labels = before.argmax(1).tolist()
    found = measure("logits", rows(before), rows(swapped(before, 40)), "int8", labels=labels, min_agreement=0.8)
    assert found.accuracy_before == 1
    assert found.accuracy_after == 0.9
    assert found.mcnemar_p is not None and found.mcnemar_p < 1e-6
    assert not found.good and "accuracy falls from 100.0% to 90.0%" in found.reason


def test_changed_classes_that_were_wrong_before_are_no_loss_of_accuracy() -> None:
    before = scores(400)
    labels = ((before.argmax(1) + 3) % 10).tolist()
    found = measure("logits", rows(before), rows(swapped(before, 15)), "int8", labels=labels)
    assert found.good and found.accuracy_before == 0 and found.mcnemar_p == 1


def test_one_class_for_all_inputs_is_no_agreement() -> None:
    """Any file would agree: then the values decide."""
    before = np.abs(scores()) + np.eye(10)[3].astype(np.float32) * 100
    noise = RNG.standard_normal(before.shape).astype(np.float32)
    assert measure("logits", rows(before), rows(before + 0.001 * noise), "fp16").good
    broken = measure("logits", rows(before), rows(before + 3 * noise), "fp16")
    assert (broken.metric, broken.good, broken.classes) == ("SQNR, dB", False, 1)


def test_probabilities_of_one_column_are_decisions() -> None:
    before = RNG.random((100, 1)).astype(np.float32)
    after = before.copy()
    after[:10] = 1 - after[:10]
    found = measure("speech", rows(before), rows(after), "int8")
    assert (found.metric, found.value, found.good) == ("decisions at 0.5", 0.9, False)


def test_rows_of_one_length_are_an_embedding() -> None:
    before = RNG.standard_normal((50, 64)).astype(np.float32)
    before /= np.linalg.norm(before, axis=1, keepdims=True)
    found = measure("sentence", rows(before), rows(before + np.float32(0.001)), "fp16")
    assert found.metric == "SQNR, dB" and found.good and found.value is not None and found.value > 30


def test_masked_positions_are_not_judged() -> None:
    before = RNG.standard_normal((8, 6, 20)).astype(np.float32)
    after, mask = before.copy(), np.ones((8, 6), np.int64)
    mask[:, 4:] = 0
    after[:, 4:] = 100
    given = {"masks": [m[None] for m in mask]}
    assert measure("logits", rows(before), rows(after), "fp16", **given).value == 1
    assert not measure("logits", rows(before), rows(after), "fp16", masks=[np.ones((1, 6), np.int64)] * 8).good


def test_labels_go_to_the_scores_and_the_worst_output_decides() -> None:
    before = scores()
    features = RNG.standard_normal((100, 4, 4)).astype(np.float32)
    expected = [{"logits": a, "features": b} for a, b in zip(rows(before), rows(features), strict=True)]
    ours = [e | {"features": -e["features"]} for e in expected]
    about = {"labels": before.argmax(1).tolist(), "on": "samples"}
    good = measure_all(["logits", "features"], expected, expected, "int8", **about)
    assert good is not None and good.good and good.summary.startswith("same top class on 100 of 100 samples; accuracy 100")
    bad = measure_all(["logits", "features"], expected, ours, "int8", **about)
    assert bad is not None and not bad.good and bad.name == "features"


def test_small_scores_lost_beside_large_boxes_are_not_good() -> None:
    before = np.concatenate([scores(50, 4) * 640, scores(50, 4)], 1)
    after = before.copy()
    after[:, 4:] = 0
    assert measure("detections", rows(before), rows(before), "int8").good
    expected, ours = ([{"boxes": v[..., None]} for v in rows(some)] for some in (before, after))
    found = measure_all(["boxes"], expected, ours, "int8", on="samples")
    assert found is not None and not found.good and "4 of 8 slices such as [:, 4]" in found.reason
    for some in (expected, ours):
        for k, one in enumerate(some):
            one["face_score"] = np.array([[k % 2]], np.float32)
    beside = measure_all(["boxes", "face_score"], expected, ours, "int8", on="samples")
    assert beside is not None and beside.good  # the decisions stay


def test_integers_must_be_equal() -> None:
    before = np.arange(20)[:, None]
    found = measure("label", rows(before), rows(np.where(before > 17, 0, before)), "fp16")
    assert isinstance(found, Quality)
    assert (found.metric, found.value, found.good) == ("equal values", 0.9, False)


def test_a_value_that_is_no_number_any_more_is_no_good_file() -> None:
    expected = [{"y": np.random.default_rng(k).standard_normal((1, 5)).astype(np.float32)} for k in range(6)]
    ours = [{"y": e["y"].copy()} for e in expected]
    ours[2]["y"][0, 1] = np.nan
    found = measure_all(["y"], expected, ours, "fp16", on="made-up inputs")
    assert found is not None and not found.good and "1 of its values are NaN" in found.reason
    assert found.range_error is None and "nan" not in found.summary
