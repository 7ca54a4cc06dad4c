"""Read uploaded start pictures in a child process with limits (``start_task.py``), which returns raw pixels."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.errors import InvalidFile, JobFailed
from lib.jobs import Job, Jobs, Limits
from lib.settings import Settings
from lib.text_to_image.start_picture import STRENGTH, StartPicture, strength_of

TASK = "lib.text_to_image.start_task:prepare"
# 50 million pixels, the maximum, take 150 MB as RGB, and the same again while they are scaled
LIMITS = Limits(memory_mb=2048, cpu_seconds=30, wall_seconds=60, file_mb=64, nice=5)


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job that opens the files and writes pixels to ``out``. ``picture`` builds the StartPicture from its result."""

    job: Job
    out: Path
    strength: float
    digests: dict[str, str]

    def picture(self, result: dict[str, Any]) -> StartPicture:
        try:
            width, height, data = int(result["width"]), int(result["height"]), self.out.read_bytes()
            pixels, rest = data[: 3 * width * height], data[3 * width * height :]
            mask = rest if result["masked"] else None
            values = {"width": width, "height": height, "pixels": pixels, "mask": mask}
            return StartPicture(**values, strength=self.strength, **self.digests)
        except (KeyError, TypeError, ValueError, OSError):  # a compromised child may return anything
            raise JobFailed("The process that opened the picture returned no pixels. Nothing else was affected.") from None


class StartPictureReader:
    """Opens up to ``settings.jobs`` pictures at once. The fork server starts with the first one."""

    def __init__(self, settings: Settings) -> None:
        self._jobs = Jobs(workers=settings.jobs, waiting=settings.queue_size, preload=("lib.text_to_image.start_task",))

    @contextmanager
    def open_in_job(
        self, image: Path, mask: Path | None = None, *, strength: object = STRENGTH, strokes: bool = False
    ) -> Iterator[OpenJob]:
        """Start a job for a picture and its mask, scaled to at most 2048 pixels per side. White and transparent parts of a
        mask are repainted.

        ``strokes``: the mask is a transparent layer that was painted on, so its opaque part is repainted instead.
        Raises InvalidValue for the strength, InvalidFile or QueueFull; the job also raises LimitExceeded and JobFailed.
        """
        number = strength_of(strength)
        digests = {"digest": _digest(image)} | ({"mask_digest": _digest(mask)} if mask else {})
        with tempfile.TemporaryDirectory(prefix="workbench-start-", ignore_cleanup_errors=True) as folder:
            pixels = Path(folder) / "pixels"
            arguments = {"image": str(image), "mask": str(mask or ""), "strokes": strokes, "out": str(pixels)}
            yield OpenJob(self._jobs.submit(TASK, arguments, limits=LIMITS), pixels, number, digests)

    def read(
        self, image: Path, mask: Path | None = None, *, strength: object = STRENGTH, strokes: bool = False
    ) -> StartPicture:
        """Read a start picture: ``open_in_job``, and wait for the job."""
        with self.open_in_job(image, mask, strength=strength, strokes=strokes) as opening:
            return opening.picture(opening.job.result())

    def close(self) -> None:
        self._jobs.close()


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:10]
    except OSError:
        raise InvalidFile("The picture is no longer available. Please send it again.") from None
