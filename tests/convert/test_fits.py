"""A file of weights tells which architecture it belongs to, with any number of classes."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import get_model

from lib.convert.formats.pytorch import fits
from lib.convert.formats.pytorch.torchvision_models import NAMES

Shapes = list[tuple[str, tuple[int, ...]]]


def shapes(name: str, **given: object) -> Shapes:
    with torch.device("meta"):
        return [(n, tuple(t.shape)) for n, t in get_model(name, weights=None, **given).state_dict().items()]


@pytest.mark.parametrize("name", ["resnet18", "wide_resnet50_2", "vit_b_16", "vgg11_bn", "mobilenet_v2"])
def test_the_architecture_is_found(name: str) -> None:
    assert fits.fitting(shapes(name)) == [f"torchvision:{name}"]
    other = shapes(name, num_classes=7)
    assert fits.fitting(other) == [f"torchvision:{name}"]
    assert fits.fitting((f"module.{n}", s) for n, s in other) == [f"torchvision:{name}"]  # of data parallel training


def test_an_auxiliary_head_does_not_matter() -> None:
    whole = shapes("fcn_resnet50", aux_loss=True, weights_backbone=None)
    assert any(n.startswith("aux_classifier") for n, _ in whole)
    assert fits.fitting(whole) == ["torchvision:fcn_resnet50"]


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s[1:],
        lambda s: [*s, ("more.weight", (3, 3))],
        lambda s: [(s[0][0], (64, 1, 7, 7)), *s[1:]],
        lambda s: [("renamed", s[0][1]), *s[1:]],
        lambda s: [],
    ],
)
def test_other_weights_fit_nothing(change) -> None:  # type: ignore[no-untyped-def]
    assert fits.fitting(change(shapes("resnet18"))) == []


def test_every_classifier_and_segmenter_is_known() -> None:
    known = sorted(name for names in fits._known().values() for name in names)
    assert known == sorted((*NAMES["classification"], *NAMES["segmentation"]))
