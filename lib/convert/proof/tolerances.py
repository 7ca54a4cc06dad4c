"""Tolerances of each precision, from the strictest to the loosest.

``verdict.py`` applies them and docs/convert.md explains them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tolerance:
    """|ours - expected| <= rtol * |expected| + atol * peak, with peak the output's largest |value| over all cases.

    ``rounding``: the largest error / peak that rounding explains; above it the verdict is ``unproven``. None: not checked.
    ``moves``: minimum change of an output between two inputs, as a share of its peak. ``sqnr_db``, ``cosine``, ``top1``:
    minimums for precisions without elementwise closeness (int8). ``node``: the largest error of a single node, as a share
    of its output's range, before it counts as different.
    """

    rtol: float | None
    atol: float | None
    rounding: float | None
    moves: float
    node: float
    sqnr_db: float | None = None
    cosine: float | None = None
    top1: float | None = None
    whole: float = 1.0  # share of an integer or boolean output's elements that must be equal
    slice: float = 0.0
    most: float | None = None
    extremes: bool = True  # whether the extreme cases count; int8 saturates beyond its calibrated range


# fp32: torch.testing, polygraphy and the ONNX test suite use about 1e-3 / 1e-5; a good converter has errors of 4e-6.
TOLERANCES = {
    "exact": Tolerance(rtol=0.0, atol=0.0, rounding=0.0, moves=0.0, node=1e-6),
    "fp32": Tolerance(rtol=1e-3, atol=1e-5, rounding=5e-5, moves=1e-3, node=1e-4, slice=0.02),
    "fp16": Tolerance(
        rtol=1e-2, atol=5e-3, rounding=None, moves=1e-2, node=2e-2, cosine=0.999, top1=0.9, whole=0.99, slice=0.2
    ),
    "int8": Tolerance(
        rtol=None,
        atol=None,
        rounding=None,
        moves=3e-2,
        node=0.2,
        sqnr_db=15.0,
        cosine=0.98,
        top1=0.8,
        whole=0.9,
        slice=0.5,
        most=0.5,
        extremes=False,
    ),
}
PRECISIONS = tuple(TOLERANCES)  # exact: the same bits
MIN_SLICE_MOVEMENT = 0.1  # minimum movement of a slice in a lossy precision, as a share of the whole output's movement
ROUNDING_64 = 1e-9  # share of the peak: rounding of a float64 model that stays float64
NOISE_FACTOR = 30.0  # maximum ratio of rounding inside a network to the effect of perturbed inputs
MAX_ROUNDING = 1e-3  # share of the peak: larger errors are never explained by rounding
# the same limit for extreme cases that are also perturbed. Five standard deviations are far outside the range of a
# network's norms: efficientnet_b4 in float32 differs there by 1.1e-3 from float64, and by 1.5e-6 on ordinary pictures
PERTURBED_ROUNDING = {"zeros": MAX_ROUNDING, "large": 1e-2, "lifelike": MAX_ROUNDING, "sample": MAX_ROUNDING}
# a source that one ulp in its inputs moves by more than this proves nothing: an additional detection, another argmax
MAX_SENSITIVITY = 1e-2
EXTREME = ("large", "wide", "huge")
MIN_EFFECT = 10.0  # an input is tested if it moves some output by this many times the rounding limit


def loosest(precisions: Iterable[str]) -> str:
    """Return the loosest of the hops' precisions, which applies end to end."""
    return max(precisions, key=PRECISIONS.index, default="exact")
