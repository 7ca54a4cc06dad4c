"""What the serving process writes of a run's drift, into ``drift.json``, and the app reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from lib.train.schema import key

Number = Annotated[float, Field(gt=-1e12, lt=1e12, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftTest:
    """A window of ``n`` pictures, tested ``at`` seconds since 1970. ``inputs`` and ``model`` are the p of the two tests."""

    at: Number
    n: Annotated[int, Field(ge=0, lt=2**53)]
    inputs: Number
    model: Number


@dataclass(slots=True, kw_only=True)
class DriftState:
    """Compared with the reference of this id: ``seen`` pictures so far, the newest test, and those of whole windows."""

    reference: str = ""
    seen: Annotated[int, Field(ge=0, lt=2**53)] = 0
    now: DriftTest | None = None
    windows: tuple[DriftTest, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceInfo:
    """``reference.json``. It was made from ``count`` training pictures; ``weights`` is
    ``lib.train.network_cache.stamp`` of the run's weights, ``version`` that of the code that made it."""

    id: str = ""
    count: int = 0
    source: str = field(default="training", metadata=key("from"))
    weights: int = 0
    version: int = 0
