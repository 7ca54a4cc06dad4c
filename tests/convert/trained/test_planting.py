"""Errors planted into converted trained models: what the task's own check sees on real inputs, the proof does not prove."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.convert.models import mlp
from tests.convert.trained import corpus
from tests.convert.trained.planting import MODELS, TARGETS, Planted, plant_all, summary
from tests.convert.trained.plants import PLANTS, layers, planted

CAUGHT = 0.95
QUICK = [name for name in MODELS if name in ("torch-cnn", "torch-lstm", "sklearn-regression")]  # all: the command


def test_plants_change_what_they_say() -> None:
    """Each changes one thing of a small float model, and a wrong zero point has none to change."""
    model, samples = mlp(), {}
    given = model.graph.input[0].name
    samples[given] = numpy_helper.to_array(numpy_helper.from_array(helper.np.linspace(0, 1, 24, dtype="float32"), "x"))
    for name in PLANTS:
        found = planted(model, name, 0, samples)
        if name == "a wrong zero point":
            assert found is None
            continue
        assert found is not None, name
        onnx.checker.check_model(found, full_check=True)
        assert found.SerializeToString() != model.SerializeToString(), name
    assert len(layers(model)) >= 2
    assert all(t.data_type == TensorProto.FLOAT for t in model.graph.initializer if len(t.dims) == 2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_what_the_check_sees_is_not_proven(tmp_path: Path) -> None:
    found: list[Planted] = []
    for name in QUICK:
        subject = corpus.make(name, tmp_path / name)
        for target in TARGETS:
            (folder := tmp_path / f"{name}-{target}").mkdir()
            found += plant_all(subject, target, folder)
    seen = [p for p in found if p.seen]
    assert len(seen) >= 20, summary(found)
    assert len({p.plant for p in seen}) >= 4, summary(found)
    missed = [p for p in seen if p.missed]
    assert len(missed) <= (1 - CAUGHT) * len(seen), f"{summary(found)}\n{missed}"
