"""The answer of ``/monitor``: what a run's ledger and its two tests say, in figures and in words. Opens no picture.

Accuracy is said from truths only. Everything else is of the answers that the ledger keeps, the sums apart.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lib.statistics import wilson
from lib.train.watch.drift import LEAST, LEVEL, WINDOW
from lib.train.watch.ledger import KEPT, Answer

RECENT = 200  # truths of which the accuracy is said
BLOCKS, BLOCK = 40, 25  # points of a curve; the least truths of one
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


def monitor(
    record: Mapping[str, Any], answers: Sequence[Answer], sums: Mapping[str, int], drift: Mapping[str, Any], why: str = ""
) -> dict[str, Any]:
    """``record`` is the run's, ``answers`` and ``sums`` its ledger's, ``drift`` what ``window.py`` wrote (or empty).

    ``why`` says, in words, why there is no reference.
    """
    accuracy, lights = accuracy_of(record, answers, sums), lights_of(drift, why)
    return {
        "run": record.get("id", ""),
        "name": record.get("name", ""),
        "requests": sums.get("pictures", 0),
        "unreadable": sums.get("unreadable", 0),
        "since": sums.get("since"),
        "last": answers[-1].at if answers else None,
        "over_time": [_traffic(block) for block in cut(answers, 1)],
        "labels": _named(record, Counter(answer.label for answer in answers)),
        "latency": _latency(answers) | {"runtimes": _runtimes(answers), "says": SAYS["latency"]},
        "confidence": _confidence(answers) | {"says": SAYS["confidence"]},
        "accuracy": accuracy | {"says": SAYS["accuracy"]},
        "drift": lights,
        "proposal": proposal(accuracy, lights),
        "stored": SAYS["stored"],
    }


def accuracy_of(record: Mapping[str, Any], answers: Sequence[Answer], sums: Mapping[str, int]) -> dict[str, Any]:
    """``value`` and ``interval`` of the last ``RECENT`` truths, in the order of the pictures; None without truths."""
    told = [answer for answer in answers if answer.truth is not None]
    expected = _expected(record)
    found = {"value": None, "interval": None, "count": 0} | _share(told[-RECENT:])
    return {
        **found,
        "over_time": [{"from": b[0].at, "to": b[-1].at} | _share(b) for b in cut(told, BLOCK)],
        "ever": {"count": sums.get("truths", 0), "right": sums.get("right", 0)},
        "expected": expected,
        "fell": fell(found, expected),
    }


def fell(found: Mapping[str, Any], expected: Mapping[str, Any] | None) -> bool | None:
    """Whether the accuracy in use is below ``expected``: its interval is, and so is the interval of their difference.

    Those pictures are few, too: of 60 right ones nobody concludes that not one in 200 may be wrong. Newcombe (1998),
    "Interval estimation for the difference between independent proportions", method 10. None where nobody knows.
    """
    if not found["count"] or expected is None:
        return None
    value, (_, high) = found["value"], found["interval"]
    apart, low = expected["accuracy"] - value, expected["interval"][0]
    margin = math.hypot(expected["accuracy"] - low, high - value)
    return bool(high < expected["accuracy"] and apart - margin > 0)


def lights_of(drift: Mapping[str, Any], why: str) -> dict[str, Any]:
    """The two lights: ``p``, ``flagged`` and ``n`` of each, None before there are ``LEAST`` pictures; ``n`` were compared.

    ``says`` is true of the light as it is now, ``means`` of one that is on.
    """
    now = drift.get("now") if _is_test(drift.get("now")) else None
    windows = [one for one in _list(drift.get("windows")) if _is_test(one)]
    seen = drift.get("seen") if isinstance(drift.get("seen"), int) else 0
    found: dict[str, Any] = {"seen": seen, "window": WINDOW, "level": LEVEL, "why": why}
    for kind in ("inputs", "model"):
        p = now[kind] if now else None
        last = [one[kind] < LEVEL for one in windows[-STAYS:]]
        flagged, n = None if p is None else p < LEVEL, now["n"] if now else min(seen, LEAST)
        found[kind] = {
            "p": p,
            "flagged": flagged,
            "n": n,
            "needed": LEAST,
            "stays": len(last) == STAYS and all(last),
            "says": _says(kind, flagged, n),
            "means": MEANS[kind],
        }
    if not why and now is None:
        found["why"] = f"The first look comes after {LEAST} pictures; {found['seen']} have been looked at."
    return found | {"windows": windows}


def proposal(accuracy: Mapping[str, Any], lights: Mapping[str, Any]) -> dict[str, str] | None:
    """A training on the new pictures, where there is a reason; ``reason`` is "accuracy" or "drift"."""
    if accuracy["fell"]:
        (low, high), expected = accuracy["interval"], accuracy["expected"]
        last = "the last picture" if accuracy["count"] == 1 else f"the last {accuracy['count']} pictures"
        text = (
            f"Of {last} whose truth was told, {accuracy['value']:.1%} is right ({low:.1%} to {high:.1%}); "
            f"on {expected['count']} {expected['part']} pictures it was {expected['accuracy']:.1%}. "
            "Train again on the new pictures with their labels."
        )
        return {"reason": "accuracy", "text": text}
    if lights["inputs"]["stays"] or lights["model"]["stays"]:
        who = "the model sees them differently, too" if lights["model"]["stays"] else "so far only the pictures themselves"
        known = "Their truths show no loss so far." if accuracy["count"] else "Only truths tell whether it harms: send some."
        text = (
            f"The last {STAYS * WINDOW} pictures differ from those of the training ({who}). {known} Label some of the new "
            "pictures and train on them together with the old ones."
        )
        return {"reason": "drift", "text": text}
    return None


def cut(answers: Sequence[Answer], least: int) -> list[Sequence[Answer]]:
    """At most ``BLOCKS`` pieces in the order of time, of equal size and at least ``least`` (or one smaller piece)."""
    size = max(least, -(-len(answers) // BLOCKS))
    pieces = [answers[at : at + size] for at in range(0, len(answers), size)]
    if len(pieces) > 1 and len(pieces[-1]) < least:
        pieces[-2:] = [[*pieces[-2], *pieces[-1]]]
    return pieces


def quantile(values: Sequence[float], share: float) -> float:
    """Between two values in proportion, as the median of an even number is; to a tenth."""
    return round(float(np.quantile(values, share)), 1)


def _says(kind: str, flagged: bool | None, n: int) -> str:
    if flagged is None:
        return f"Nothing was compared yet: the first look comes after {LEAST} pictures."
    return f"{FOUND[kind] if flagged else 'No difference from the training was found'}. {n} pictures were compared."


def _expected(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The result on pictures that the training left out, as far as the record has the shape that we write."""
    parts = (record.get("result") or {}).get("parts")
    found = (_result(name, parts.get(name)) for name in PARTS) if isinstance(parts, dict) else ()
    return next((one for one in found if one is not None), None)


def _result(part: str, found: Any) -> dict[str, Any] | None:
    try:
        count, correct = int(found["count"]), int(found["correct"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not 0 <= correct <= count or not 0 < count < 10**9:
        return None
    return {"part": part, "accuracy": correct / count, "interval": list(wilson(correct, count)), "count": count}


def _share(told: Sequence[Answer]) -> dict[str, Any]:
    if not told:
        return {}
    right = sum(answer.truth == answer.label for answer in told)
    return {"value": right / len(told), "interval": list(wilson(right, len(told))), "count": len(told), "right": right}


def _traffic(block: Sequence[Answer]) -> dict[str, Any]:
    times = [answer.milliseconds for answer in block]
    sure = sum(answer.score for answer in block) / len(block)
    ends = {"from": block[0].at, "to": block[-1].at, "count": len(block)}
    return ends | {"milliseconds": quantile(times, 0.5), "confidence": round(sure, 4)}


def _latency(answers: Sequence[Answer]) -> dict[str, Any]:
    times = [answer.milliseconds for answer in answers]
    return {"p50": quantile(times, 0.5), "p95": quantile(times, 0.95)} if times else {}


def _runtimes(answers: Sequence[Answer]) -> dict[str, Any]:
    names = sorted({answer.runtime for answer in answers})[:8]
    some = {name: [answer for answer in answers if answer.runtime == name] for name in names}
    return {name: {"count": len(mine)} | _latency(mine) for name, mine in some.items()}


def _confidence(answers: Sequence[Answer]) -> dict[str, Any]:
    counts = Counter(min(BINS - 1, max(0, int(answer.score * BINS))) for answer in answers if math.isfinite(answer.score))
    mean = round(sum(answer.score for answer in answers) / len(answers), 4) if answers else None
    return {"mean": mean, "histogram": [counts[k] for k in range(BINS)], "edges": [k / BINS for k in range(BINS + 1)]}


def _named(record: Mapping[str, Any], counts: Counter[int]) -> dict[str, int]:
    classes = record.get("classes") or []
    return {str(name): counts[number] for number, name in enumerate(classes) if counts[number]}


def _list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []


def _is_test(found: Any) -> bool:
    """A line of ``window.py``: the file may be anybody's."""
    numbers = [found.get(name) for name in ("at", "n", "inputs", "model")] if isinstance(found, dict) else [None]
    return all(isinstance(x, int | float) and -1e12 < x < 1e12 for x in numbers)  # NaN is not
