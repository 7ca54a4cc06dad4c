"""The records of ``GET /monitor``. ``lib/train/schema.py`` turns them into the JSON that visitors get."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lib.train.monitoring.drift_state import DriftTest
from lib.train.schema import OPTIONAL, key

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficBlock:
    """Requests in a row: ``start`` and ``end`` in seconds since 1970, median ``milliseconds``, mean ``confidence``."""

    start: float = field(metadata=key("from"))
    end: float = field(metadata=key("to"))
    count: int
    milliseconds: float
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeLatency:
    """Of ``count`` pictures on one runtime: median and 95th percentile, in milliseconds."""

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
    """Of the predicted labels: the ``mean``, 0 to 1, and a ``histogram`` of counts, one fewer than its ``edges``."""

    mean: float | None
    histogram: list[int]
    edges: list[float]
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyBlock:
    """Pictures in a row whose true label is known: ``right`` of ``count``, as a share with its 95 % interval. ``start`` and
    ``end`` in seconds since 1970."""

    start: float = field(metadata=key("from"))
    end: float = field(metadata=key("to"))
    value: float
    interval: Interval
    count: int
    right: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLabels:
    """Pictures whose true label was sent, ever since, and how many of them were right."""

    count: int
    right: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedAccuracy:
    """What the evaluation of the run leads to expect: its accuracy on ``count`` pictures of ``part``, with its interval."""

    part: str
    accuracy: float
    interval: Interval
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyInUse:
    """On the last ``count`` pictures whose true label is known, ``right`` of them right; None without any.

    ``fell``: whether it is below ``expected``; None where nobody knows.
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
    """One of the two tests. ``p`` and ``flagged`` are None before ``needed`` pictures were seen; ``n`` were compared.

    ``stays``: the last whole windows were all flagged. ``says`` is true as it is now, ``means`` once it is flagged.
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
    """``seen`` pictures in all; ``window`` is how many a whole window has; below ``level`` a p is flagged. ``why``: in
    words, why nothing is known yet. ``inputs`` tests the pictures, ``model`` what the run's own head sees."""

    seen: int
    window: int
    level: float
    why: str
    inputs: DriftSignal
    model: DriftSignal
    windows: list[DriftTest]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Why to train again, in words."""

    reason: Literal["accuracy", "drift"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorReport:
    """How a served run does. ``requests`` and ``unreadable`` count pictures; ``since`` and ``last`` are seconds since 1970.

    ``labels``: by class, how often it was predicted. ``stored`` says in words what is kept of a request.
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
