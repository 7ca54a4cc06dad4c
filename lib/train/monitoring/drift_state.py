"""A run's drift state: written by the serving process to ``drift.json`` and read by the app."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from lib.train.schema import key

Number = Annotated[float, Field(gt=-1e12, lt=1e12, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftTest:
    """A test of a window of ``n`` images, ``at`` in seconds since 1970. ``inputs`` and ``model`` are the p-values."""

    at: Number
    n: Annotated[int, Field(ge=0, lt=2**53)]
    inputs: Number
    model: Number


@dataclass(slots=True, kw_only=True)
class DriftState:
    """``seen`` images so far, the latest test, and the tests of full windows, all against the reference with this id."""

    reference: str = ""
    seen: Annotated[int, Field(ge=0, lt=2**53)] = 0
    now: DriftTest | None = None
    windows: tuple[DriftTest, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceInfo:
    """``reference.json``, made from ``count`` training images.

    ``weights`` is ``lib.train.network_cache.stamp`` of the run's weights, ``version`` that of the code that made it.
    """

    id: str = ""
    count: int = 0
    source: str = field(default="training", metadata=key("from"))
    weights: int = 0
    version: int = 0
