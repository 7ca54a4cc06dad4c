"""The tolerances of each precision, from the strictest to the loosest.

Figures only; ``verdict.py`` applies them and docs/convert.md explains them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tolerance:
    """|ours - expected| <= rtol * |expected| + atol * peak, with peak the output's largest |value| over all cases.

    ``rounding``: the largest error / peak that rounding explains; over it the verdict is ``unproven`` (only where
    not None). ``moves``: how far an output must move between two inputs, as a share of its peak. ``sqnr_db``,
    ``cosine``, ``top1``: floors, where elementwise closeness is not to be had (int8). ``node``: what one node may lose,
    as a share of its output's range, before it is the one that differs.
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
    extremes: bool = True  # whether the extreme cases count: integers of 8 bits end where their calibration ended


# fp32: what torch.testing, polygraphy and the ONNX corpus use lies around 1e-3 / 1e-5; a good converter makes 4e-6.
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
MIN_SLICE_MOVEMENT = 0.1  # of the whole output's movement: what a slice counts as moving at the least, in a lossy precision
ROUNDING_64 = 1e-9  # of the peak: what rounding explains in a model of float64 that stays one
NOISE_FACTOR = 30.0  # rounding inside a network is this much more than what perturbed inputs show, at most
MAX_ROUNDING = 1e-3  # of the peak: whatever is amplified, more than this is not taken for rounding
# the same for cases that are perturbed themselves. Five deviations are far beyond what a network's norms have seen: an
# efficientnet_b4's own float32 is off there by 1.1e-3 from its float64, and by 1.5e-6 on ordinary pictures
PERTURBED_ROUNDING = {"zeros": MAX_ROUNDING, "large": 1e-2, "lifelike": MAX_ROUNDING, "sample": MAX_ROUNDING}
# a source that its inputs' last bit moves by more than this decides nothing there: a detection more or less, an argmax
MAX_SENSITIVITY = 1e-2
EXTREME = ("large", "wide", "huge")
MIN_EFFECT = 10.0  # an input counts as seen when it moves some output by this much more than rounding may


def loosest(precisions: Iterable[str]) -> str:
    """The loosest of the hops' precisions, which applies end to end."""
    return max(precisions, key=PRECISIONS.index, default="exact")
