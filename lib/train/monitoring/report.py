"""The records of ``GET /monitor``, converted to JSON by ``lib/train/schema.py``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lib.train.monitoring.drift_state import DriftTest
from lib.train.schema import OPTIONAL, key

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficBlock:
    """Consecutive requests: ``start`` and ``end`` in seconds since 1970, median ``milliseconds``, mean ``confidence``."""

    start: float = field(metadata=key("from"))
    end: float = field(metadata=key("to"))
    count: int
    milliseconds: float
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeLatency:
    """Latency of ``count`` images on one runtime: median and 95th percentile in milliseconds."""

    count: int
    p50: float
    p95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Median and 95th percentile in milliseconds, None before the first request; ``runtimes`` by name."""

    p50: float | None = field(default=None, metadata=OPTIONAL)
    p95: float | None = field(default=None, metadata=OPTIONAL)
    runtimes: dict[str, RuntimeLatency]
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """Confidence of the predictions: the ``mean``, 0 to 1, and a ``histogram`` of counts with one more ``edges``."""

    mean: float | None
    histogram: list[int]
    edges: list[float]
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyBlock:
    """Consecutive labelled predictions: ``right`` of ``count``, as a share with its 95 % interval.

    ``start`` and ``end`` are in seconds since 1970.
    """

    start: float = field(metadata=key("from"))
    end: float = field(metadata=key("to"))
    value: float
    interval: Interval
    count: int
    right: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLabels:
    """All-time number of labelled predictions, and how many were correct."""

    count: int
    right: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedAccuracy:
    """The baseline from the run's evaluation: its accuracy on ``count`` images of ``part``, with its 95 % interval."""

    part: str
    accuracy: float
    interval: Interval
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyInUse:
    """Accuracy on the last ``count`` labelled predictions, ``right`` of them correct; None without any.

    ``fell``: whether it is below ``expected``; None if unknown.
    """

    value: float | None = None
    interval: Interval | None = None
    count: int = 0
    right: int | None = field(default=None, metadata=OPTIONAL)
    over_time: list[AccuracyBlock]
    ever: KnownLabels
    expected: ExpectedAccuracy | None
    fell: bool | None
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSignal:
    """The result of one drift test. ``p`` and ``flagged`` are None before ``needed`` images; ``n`` were compared.

    ``stays``: the last full windows were all flagged. ``says`` describes the current state, ``means`` explains a flag.
    """

    p: float | None
    flagged: bool | None
    n: int
    needed: int
    stays: bool
    says: str
    means: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """Both drift tests: ``inputs`` on the images, ``model`` on the features that the run's own head receives.

    ``seen`` images in total; ``window`` is the size of a full window; a p below ``level`` is flagged. ``why`` explains why
    there is no result yet.
    """

    seen: int
    window: int
    level: float
    why: str
    inputs: DriftSignal
    model: DriftSignal
    windows: list[DriftTest]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A proposal to retrain, with its reason as text."""

    reason: Literal["accuracy", "drift"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorReport:
    """The state of a served run. ``requests`` and ``unreadable`` count images.

    ``since`` and ``last`` are in seconds since 1970. ``labels`` counts predictions by class. ``stored`` describes which
    data of a request is stored.
    """

    run: str
    name: str
    requests: int
    unreadable: int
    since: int | None
    last: float | None
    over_time: list[TrafficBlock]
    labels: dict[str, int]
    latency: Latency
    confidence: Confidence
    accuracy: AccuracyInUse
    drift: DriftReport
    proposal: Proposal | None
    stored: str
