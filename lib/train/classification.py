"""What a run says of a picture: the records that the classifying process answers with, and the visitor gets as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from lib.train.schema import OPTIONAL

Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(slots=True, kw_only=True)
class Classification:
    """``label`` is the class with the highest probability, ``score`` that probability; ``scores`` are those of all classes.

    ``milliseconds`` are those of a network in memory, for all pictures of the request. ``loading_ms``: where the network had
    to be loaded first, how long that took. ``file`` is the exported file that was run, None for the run's own framework.
    ``id`` names this answer in the run's prediction log, None where it is not logged.
    """

    label: str
    score: Finite
    milliseconds: Finite
    scores: dict[str, Finite] = field(default_factory=dict)
    file: str | None = field(default=None, metadata=OPTIONAL)
    loading_ms: Finite | None = field(default=None, metadata=OPTIONAL)
    id: str | None = field(default=None, metadata=OPTIONAL)


@dataclass(slots=True, kw_only=True)
class Unreadable:
    """A file that is no picture, or one that a runtime could not classify; ``error`` says why."""

    error: str


Answer = Classification | Unreadable


@dataclass(slots=True, kw_only=True)
class Reply:
    """What the classifying process sends for one request: an answer for each picture, in their order.

    ``loading``: seconds that loading the network took, 0.0 where it was in memory. ``error`` where the run cannot be used.
    """

    pictures: list[Answer] = field(default_factory=list)
    loading: Finite = 0.0
    error: str = ""
