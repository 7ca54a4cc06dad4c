"""What a format is called, what an artifact of it is on disk, and who runs it."""

from __future__ import annotations

from dataclasses import dataclass

APP = "app"  # the environment that the app itself runs in


@dataclass(frozen=True, slots=True)
class Format:
    """``main`` is the main file's name in an artifact's folder; ``runner`` is ``module:Class`` below ``formats/``.

    ``base`` is the format that files of a variant (fp16, int8 …) are in: a variant is a target, never a source.
    """

    name: str
    title: str
    main: str
    runner: str
    environment: str = APP
    base: str = ""

    @property
    def on_disk(self) -> str:
        return self.base or self.name
