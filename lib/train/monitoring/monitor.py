"""Builds the answer of ``/monitor`` from a run's prediction log and its two drift tests. Opens no picture.

Accuracy is computed from true labels only. All else is of the predictions that the log keeps, except the totals.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from lib.statistics import wilson
from lib.train.evaluation import PartResult
from lib.train.monitoring.drift import FIRST_WINDOW, LEVEL, WINDOW
from lib.train.monitoring.drift_state import DriftState
from lib.train.monitoring.prediction_log import KEPT, Prediction, Totals
from lib.train.monitoring.report import (
    AccuracyBlock,
    AccuracyInUse,
    Confidence,
    DriftReport,
    DriftSignal,
    ExpectedAccuracy,
    KnownLabels,
    Latency,
    MonitorReport,
    Proposal,
    RuntimeLatency,
    TrafficBlock,
)
from lib.train.run_record import RunRecord

RECENT = 200  # true labels that the accuracy is computed from
BLOCKS, BLOCK = 40, 25  # points of a curve; the least true labels of one
BINS = 20  # of the histogram of confidence
STAYS = 3  # whole windows in a row that are flagged before a training is proposed
SAYS = {
    "confidence": "How sure the model is. It is no accuracy: a model may be sure and wrong, most of all on pictures "
    "unlike those it learned from.",
    "accuracy": "Of the last pictures whose truth was told (POST /classify/{id}/truth), with its 95 % interval. Without "
    "truths nobody knows it.",
    "latency": "Milliseconds in the process that classifies, from reading the picture to the answer. Loading the network "
    "first (loading_ms of an answer) and waiting for other requests are not in it.",
    "stored": f"Of each of the last {KEPT:,} pictures: when, class, confidence, milliseconds, runtime, and the truth where "
    f"it was told. Of the last {WINDOW}: features, reduced to 128 and 16 numbers. No picture, no file's name, nothing "
    "of who asked. All of it is deleted with the run.",
}
MEANS = {  # of a light that is on
    "inputs": "The pictures look different from those of the training, to a network that knows nothing of this run. That "
    "may harm nothing: another camera, another way of packing pictures.",
    "model": "What the run's own head sees is different from what it saw in training. This finds less than the other test, "
    "and what it finds is nearer to a loss of accuracy. It needs whole windows.",
}
FOUND = {
    "inputs": "The pictures look different from those of the training",
    "model": "The run's own head sees something else than in training",
}
PARTS = ("test", "validation")  # with which the accuracy is compared: the best epoch was chosen on the validation pictures


def build_report(
    record: RunRecord, predictions: Sequence[Prediction], totals: Totals, drift: DriftState, why: str = ""
) -> MonitorReport:
    """``predictions`` and ``totals`` are of the run's log. ``why`` says, in words, why there is no reference."""
    accuracy, drift_report = accuracy_in_use(record, predictions, totals), report_drift(drift, why)
    return MonitorReport(
        run=record.id,
        name=record.name,
        requests=totals.pictures,
        unreadable=totals.unreadable,
        since=totals.since,
        last=predictions[-1].at if predictions else None,
        over_time=[_traffic(block) for block in cut(predictions, 1)],
        labels=_label_counts(record, predictions),
        latency=_latency(predictions),
        confidence=_confidence(predictions),
        accuracy=accuracy,
        drift=drift_report,
        proposal=propose(accuracy, drift_report),
        stored=SAYS["stored"],
    )


def accuracy_in_use(record: RunRecord, predictions: Sequence[Prediction], totals: Totals) -> AccuracyInUse:
    """Of the last ``RECENT`` pictures whose true label is known, in the order of the pictures."""
    known = [one for one in predictions if one.truth is not None]
    recent, expected = known[-RECENT:], _expected(record)
    right = _right(recent)
    figures: dict[str, Any] = {}
    if recent:
        interval = wilson(right, len(recent))
        figures = {"value": right / len(recent), "interval": interval, "count": len(recent), "right": right}
    return AccuracyInUse(
        **figures,
        over_time=[_accuracy_block(block) for block in cut(known, BLOCK)],
        ever=KnownLabels(count=totals.truths, right=totals.right),
        expected=expected,
        fell=fell(right, len(recent), expected),
        says=SAYS["accuracy"],
    )


def fell(right: int, count: int, expected: ExpectedAccuracy | None) -> bool | None:
    """Whether the accuracy in use is below ``expected``: its interval is, and so is the interval of their difference.

    Those pictures are few, too: of 60 right ones nobody concludes that not one in 200 may be wrong. Newcombe (1998),
    "Interval estimation for the difference between independent proportions", method 10. None where nobody knows.
    """
    if not count or expected is None:
        return None
    value, (_, high) = right / count, wilson(right, count)
    margin = math.hypot(expected.accuracy - expected.interval[0], high - value)
    return bool(high < expected.accuracy and expected.accuracy - value - margin > 0)


def report_drift(state: DriftState, why: str) -> DriftReport:
    """The two signals. Nothing is compared before ``drift.FIRST_WINDOW`` pictures."""
    if not why and state.now is None:
        why = f"The first look comes after {FIRST_WINDOW} pictures; {state.seen} have been looked at."
    return DriftReport(
        seen=state.seen,
        window=WINDOW,
        level=LEVEL,
        why=why,
        inputs=_signal("inputs", state),
        model=_signal("model", state),
        windows=list(state.windows),
    )


def _signal(kind: str, state: DriftState) -> DriftSignal:
    p = getattr(state.now, kind) if state.now else None
    last = [getattr(one, kind) < LEVEL for one in state.windows[-STAYS:]]
    flagged, n = None if p is None else p < LEVEL, state.now.n if state.now else min(state.seen, FIRST_WINDOW)
    return DriftSignal(
        p=p,
        flagged=flagged,
        n=n,
        needed=FIRST_WINDOW,
        stays=len(last) == STAYS and all(last),
        says=_says(kind, flagged, n),
        means=MEANS[kind],
    )


def propose(accuracy: AccuracyInUse, drift: DriftReport) -> Proposal | None:
    """A training on the new pictures, where there is a reason."""
    expected = accuracy.expected
    if accuracy.fell and expected and accuracy.interval:
        low, high = accuracy.interval
        last = "the last picture" if accuracy.count == 1 else f"the last {accuracy.count} pictures"
        text = (
            f"Of {last} whose truth was told, {accuracy.value:.1%} is right ({low:.1%} to {high:.1%}); "
            f"on {expected.count} {expected.part} pictures it was {expected.accuracy:.1%}. "
            "Train again on the new pictures with their labels."
        )
        return Proposal(reason="accuracy", text=text)
    if drift.inputs.stays or drift.model.stays:
        who = "the model sees them differently, too" if drift.model.stays else "so far only the pictures themselves"
        known = "Their truths show no loss so far." if accuracy.count else "Only truths tell whether it harms: send some."
        text = (
            f"The last {STAYS * WINDOW} pictures differ from those of the training ({who}). {known} Label some of the new "
            "pictures and train on them together with the old ones."
        )
        return Proposal(reason="drift", text=text)
    return None


def cut(predictions: Sequence[Prediction], least: int) -> list[Sequence[Prediction]]:
    """At most ``BLOCKS`` pieces in the order of time, of equal size and at least ``least`` (or one smaller piece)."""
    size = max(least, -(-len(predictions) // BLOCKS))
    pieces = [predictions[at : at + size] for at in range(0, len(predictions), size)]
    if len(pieces) > 1 and len(pieces[-1]) < least:
        pieces[-2:] = [[*pieces[-2], *pieces[-1]]]
    return pieces


def quantile(values: Sequence[float], share: float) -> float:
    """Between two values in proportion, as the median of an even number is; to a tenth."""
    return round(float(np.quantile(values, share)), 1)


def _says(kind: str, flagged: bool | None, n: int) -> str:
    if flagged is None:
        return f"Nothing was compared yet: the first look comes after {FIRST_WINDOW} pictures."
    return f"{FOUND[kind] if flagged else 'No difference from the training was found'}. {n} pictures were compared."


def _expected(record: RunRecord) -> ExpectedAccuracy | None:
    """The result on pictures that the training left out. The training's process wrote it: only the counts are taken."""
    parts = record.result.parts if record.result else {}
    for part in PARTS:
        found = parts.get(part)
        if found and 0 <= found.correct <= found.count and 0 < found.count < 10**9:
            own = PartResult.of(found.correct, found.count)
            return ExpectedAccuracy(part=part, accuracy=own.accuracy, interval=own.interval, count=own.count)
    return None


def _right(predictions: Sequence[Prediction]) -> int:
    return sum(one.truth == one.label for one in predictions)


def _accuracy_block(block: Sequence[Prediction]) -> AccuracyBlock:
    right, count = _right(block), len(block)
    return AccuracyBlock(
        start=block[0].at, end=block[-1].at, value=right / count, interval=wilson(right, count), count=count, right=right
    )


def _traffic(block: Sequence[Prediction]) -> TrafficBlock:
    return TrafficBlock(
        start=block[0].at,
        end=block[-1].at,
        count=len(block),
        milliseconds=quantile([one.milliseconds for one in block], 0.5),
        confidence=round(sum(one.score for one in block) / len(block), 4),
    )


def _latency(predictions: Sequence[Prediction]) -> Latency:
    names = sorted({one.runtime for one in predictions})[:8]
    runtimes = {}
    for name in names:
        times = [one.milliseconds for one in predictions if one.runtime == name]
        runtimes[name] = RuntimeLatency(count=len(times), p50=quantile(times, 0.5), p95=quantile(times, 0.95))
    every = [one.milliseconds for one in predictions]
    ends = {"p50": quantile(every, 0.5), "p95": quantile(every, 0.95)} if every else {}
    return Latency(**ends, runtimes=runtimes, says=SAYS["latency"])


def _confidence(predictions: Sequence[Prediction]) -> Confidence:
    counts = Counter(min(BINS - 1, max(0, int(one.score * BINS))) for one in predictions if math.isfinite(one.score))
    return Confidence(
        mean=round(sum(one.score for one in predictions) / len(predictions), 4) if predictions else None,
        histogram=[counts[k] for k in range(BINS)],
        edges=[k / BINS for k in range(BINS + 1)],
        says=SAYS["confidence"],
    )


def _label_counts(record: RunRecord, predictions: Sequence[Prediction]) -> dict[str, int]:
    counts = Counter(one.label for one in predictions)
    return {name: counts[number] for number, name in enumerate(record.classes) if counts[number]}
