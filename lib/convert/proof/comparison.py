"""Results of a proof as dataclasses: verdicts, faithfulness to an emulation, and the whole comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from lib.convert.proof.quality import TaskQuality

ORDER = ("proven", "unproven", "failed")
Outcome = Literal["proven", "unproven", "failed"]


@dataclass(slots=True)
class Verdict:
    """Verdict on one artifact compared with another. ``reason``: one or more sentences, or "".

    ``cases``: sets of inputs compared. ``tolerance``: the fields of ``tolerances.Tolerance``. Errors are the largest over
    all outputs: ``max_abs_error`` in the output's unit, ``max_rel_error`` as a share of the expected value, ``range_error``
    as a share of the output's peak, ``sqnr_db`` in dB. None: not known. ``beyond``: the ``cosine`` of each ``kind`` and
    output ``name`` that was measured and not judged. ``outputs``: ``output_verdict.OutputError`` of each, as dicts.
    """

    precision: str
    tolerance: dict[str, Any]
    cases: int
    verdict: Outcome
    reason: str
    max_abs_error: float | None = None
    max_rel_error: float | None = None
    range_error: float | None = None
    cosine: float | None = None
    sqnr_db: float | None = None
    top1_agreement: float | None = None  # share of rows
    beyond: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)

    def lower(self, verdict: Outcome, reason: str) -> None:
        """Replace the verdict and its reason. The figures stay."""
        self.verdict, self.reason = verdict, reason


@dataclass(slots=True)
class Faithfulness:
    """Verdict on whether the file's errors are no larger than its format explains.

    ``method``: "emulation", "rounding" (of its weights) or "tolerance" (there was no emulation). ``figures``: ratios of the
    file's errors to the emulation's, see ``emulation/faithfulness.py``. ``vacuous``: no error was found, but the errors of
    the format are so large that any file would pass; then the quality on the task decides.
    """

    verdict: Outcome
    reason: str
    method: str
    figures: dict[str, Any] = field(default_factory=dict)
    vacuous: bool = False


@dataclass(slots=True)
class ThreeWay:
    """Cross-check of an ONNX file in two runtimes. ``why_not``: why the reference evaluator did not run or does not count.

    ``reference``: source compared with the result in the evaluator; ``runtimes``: result in onnxruntime compared with the
    evaluator. ``counts``: False if the evaluator disagrees with the source's own runtime on the source itself.
    """

    reference: Verdict | None
    why_not: str
    counts: bool
    runtimes: Verdict | None = None


@dataclass(slots=True)
class Comparison:
    """All verdicts. ``hops``: source against target of each edge. ``whole``: the route's source against its last target.

    ``three_way``: None for formats without a reference evaluator. ``quality``: None if the precision is not lossy or
    nothing could be measured.
    """

    hops: list[Verdict]
    whole: Verdict
    three_way: ThreeWay | None
    faithful: Faithfulness
    quality: TaskQuality | None
