"""Response records of the classification process, returned to clients as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from lib.train.schema import OPTIONAL

Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(slots=True, kw_only=True)
class Classification:
    """``label`` is the class with the highest probability, ``score`` that probability; ``scores`` holds all classes.

    ``milliseconds`` is the inference time of all images of the request, with the network in memory. ``loading_ms`` is the
    time to load the network, if it had to be loaded. ``file`` is the exported file that ran, None for the run's own
    framework. ``id`` identifies the answer in the run's prediction log, None if it is not logged.
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
    """A file that is not an image, or that a runtime could not classify; ``error`` says why."""

    error: str


Answer = Classification | Unreadable


@dataclass(slots=True, kw_only=True)
class Reply:
    """The reply to one request: an answer for each image, in order.

    ``loading`` is the number of seconds to load the network, 0.0 if it was in memory. ``error`` is set if the run is
    unusable.
    """

    pictures: list[Answer] = field(default_factory=list)
    loading: Finite = 0.0
    error: str = ""
