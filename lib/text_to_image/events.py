"""What a caller hears about its request, in this order: Loading*, Queued*, Step*, then one end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

    from lib.errors import WorkbenchError


@dataclass(frozen=True, slots=True)
class Loading:
    """The model is on its way: ``stage`` in words, for ``seconds`` so far."""

    stage: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Queued:
    """``position`` 1 is next; ``seconds_to_go`` until the picture, or None while unknown."""

    position: int
    seconds_to_go: float | None


@dataclass(frozen=True, slots=True)
class Step:
    """``step`` of ``steps`` is done; ``preview`` is a small picture of where it is going."""

    step: int
    steps: int
    preview: Image | None
    seconds_to_go: float | None


@dataclass(frozen=True, slots=True)
class Done:
    """``info`` holds every parameter used, the real seed, the model and the seconds."""

    image: Image
    info: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    error: WorkbenchError


Event = Loading | Queued | Step | Done | Failed
