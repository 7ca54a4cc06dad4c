"""What a model's own files say of its inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lib.model_inputs import hints

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}


@pytest.mark.parametrize(
    ("properties", "found"),
    [
        ({}, {}),
        ({"labels": '["cat", "dog"]', "input": "RGB, 0 to 255"}, {"labels": ["cat", "dog"], "input": "RGB, 0 to 255"}),
        ({"names": '{"1": "dog", "0": "cat"}'}, {"labels": ["cat", "dog"]}),
        ({"classes": "cat\ndog"}, {"labels": ["cat", "dog"]}),
        ({"names": '{"1": "dog"}'}, {}),
        ({"labels": '["cat", "cat"]'}, {}),
        ({"labels": "[1, 2]"}, {}),
        ({"labels": "[" * 100_000}, {}),
        ({"labels": "null", "names": '["a"]'}, {"labels": ["a"]}),
    ],
)
def test_metadata(properties: dict[str, str], found: dict[str, Any]) -> None:
    assert hints.from_metadata(properties) == found


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({}, {}),
        ({"do_rescale": True}, {"normalization": "0..1"}),
        (
            {"do_normalize": True, "size": {"height": 224, "width": 320}} | IMAGENET,
            {"size": [224, 320], "crop": "squash", "normalization": "imagenet"},
        ),
        (
            {"do_center_crop": True, "crop_size": 224, "size": {"shortest_edge": 256}, "do_normalize": True} | HALF,
            {"size": [224, 224], "crop": "center", "normalization": "-1..1"},
        ),
        (
            {"size": {"shortest_edge": 256}, "do_normalize": False},
            {"size": [256, 256], "crop": "center", "normalization": "0..1"},
        ),
        ({"do_rescale": False, "do_normalize": False}, {"normalization": "0..255"}),
        ({"do_normalize": True, "image_mean": 0.5, "image_std": 0.5}, {"normalization": "-1..1"}),
        ({"do_normalize": True, "image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}, {}),
        ({"do_normalize": True, "image_mean": "x", "image_std": [1]}, {}),
        ({"do_normalize": True} | HALF | {"image_mean": [0.5, 0.5]}, {}),
        ({"size": {"height": -1, "width": "x"}, "rescale_factor": "y"}, {}),
        ({"size": [1, 2, 3], "rescale_factor": 2.0}, {}),
    ],
)
def test_preprocessor_config(config: dict[str, Any], found: dict[str, Any]) -> None:
    assert hints.from_preprocessor_config(json.loads(json.dumps(config))) == found


def test_a_transformers_folder(tmp_path: Path) -> None:
    assert hints.in_folder(tmp_path) == {}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": 32, "do_normalize": True} | HALF))
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"1": "dog", "0": "cat"}}))
    assert hints.in_folder(tmp_path) == {
        "size": [32, 32],
        "crop": "squash",
        "normalization": "-1..1",
        "labels": ["cat", "dog"],
    }
    (tmp_path / "preprocessor_config.json").write_text("[1]")
    (tmp_path / "config.json").write_bytes(b"\xff{")
    assert hints.in_folder(tmp_path) == {}
