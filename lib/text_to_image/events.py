"""The events of a request, in this order: Loading*, Queued*, Step*, then one end.

The end is Done or Failed. A request that is cancelled after its first preview has a Stopped right before its
``Failed(Cancelled())``: callers that asked for previews (``watch``) can keep it as a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

    from lib.errors import WorkbenchError


TOO_LARGE = "The device has too little memory for this picture; try a smaller one."


@dataclass(frozen=True, slots=True)
class Loading:
    """The model is being loaded. ``stage``: the current step; ``seconds``: elapsed."""

    stage: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Queued:
    """The request is waiting. ``position``: 1 is next; ``seconds_to_go``: until the picture, None if unknown."""

    position: int
    seconds_to_go: float | None


@dataclass(frozen=True, slots=True)
class Step:
    """``step`` of ``steps`` is done. ``preview``: a small picture of the estimated result."""

    step: int
    steps: int
    preview: Image | None
    seconds_to_go: float | None


@dataclass(frozen=True, slots=True)
class Done:
    """The picture. ``info``: all parameters, the actual seed, the model and the seconds."""

    image: Image
    info: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stopped:
    """The last preview, enlarged to the picture's size, as it was after ``step`` of ``steps``.

    ``info``: the part of ``Done.info`` that is known without the model: the parameters, ``seconds``, and ``stopped``
    (``{"step": 19, "steps": 150}``), for which ``png.encode`` writes "Stopped at step 19 of 150" into the file. The
    settings in such a file reproduce the finished picture.
    """

    image: Image
    step: int
    steps: int
    info: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    error: WorkbenchError


Event = Loading | Queued | Step | Done | Stopped | Failed
