"""The step-level batch: rows of different requests share every call of the network.

Each row has its own latents, conditioning, scheduler and random generator, so rows join and
leave between steps and never change each other's picture. Pure: no threads, no queue, no clock.

A guided request costs two rows of the network (prompt and negative prompt), any other one. Latents are
float32 throughout; only what the network sees is cast to the model's dtype.
"""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from lib.errors import GenerationFailed, out_of_memory
from lib.text_to_image import preview
from lib.text_to_image.models import Model
from lib.text_to_image.predict import Predictor, failure, positions
from lib.text_to_image.request import Request
from lib.text_to_image.row import Row
from lib.text_to_image.safety import blur


class Batch:
    """The rows of one model and one picture size.

    ``limit`` is the most rows in a call of the network; it is halved when the device runs out of memory.
    With ``bucket`` > 0 every call has exactly that many rows (padded), and pictures are decoded
    one at a time: kernels then never depend on the other requests, and pictures are bit-exact.
    """

    def __init__(self, model: Model, *, limit: int = 32, bucket: int = 0) -> None:
        assert model.family is not None
        self.model, self.family, self.bucket = model, model.family, bucket
        self.rows: list[Row] = []
        self._predictor = Predictor(model, limit=limit, bucket=bucket)

    @property
    def limit(self) -> int:
        return self._predictor.limit

    @property
    def num_rows(self) -> int:
        return sum(row.num_rows for row in self.rows)

    @torch.inference_mode()
    def join(self, request: Request) -> Row:
        """``request`` has its seed and size (``Model.resolve``). Raises InvalidValue for steps the scheduler refuses."""
        row = Row(self.model, request)
        self.rows.append(row)
        return row

    def leave(self, row: Row) -> None:
        if row in self.rows:
            self.rows.remove(row)

    @torch.inference_mode()
    def step(self) -> list[Row]:
        """One call of the network for all rows, then each row's own scheduler step.

        Returns the rows that ended and left: ``left == 0``, or ``error`` is set. A row that
        breaks takes no other with it.
        """
        ready: list[Row] = []
        for row in self.rows:
            if _guard(row, row.scale_model_input) is not None:
                ready.append(row)
        for row, output in zip(ready, self._predictor.outputs(ready), strict=True):
            if output is not None:
                _guard(row, lambda row=row, output=output: row.advance(output) or True)
        for row in ready:
            # NaN spreads and never leaves: looking once, at the end, costs one sync instead of n
            if row.left == 0 and not row.error and not torch.isfinite(row.latents).all():
                row.error = GenerationFailed("The model produced values that are not numbers; try another seed or dtype.")
        ended = [row for row in self.rows if row.error or row.left == 0]
        self.rows = [row for row in self.rows if row not in ended]
        return ended

    @torch.inference_mode()
    def previews(self, rows: list[Row]) -> list[Image.Image | None]:
        """One small picture a row, of its estimate of the clean latents."""
        weights, started = self.model.preview_weights, [r for r in rows if r.calls]
        if weights is None or not started:
            return [None] * len(rows)
        clean = self.family.clean_estimate(
            torch.cat([r.noisy for r in started]),
            torch.cat([r.output for r in started]),
            [float(r.timesteps[r.calls - 1]) for r in started],
        )
        drawn = preview.to_images(clean, weights)
        if self.model.safety:  # the checker sees finished pictures only
            drawn = [blur(image) for image in drawn]
        images = dict(zip(map(id, started), drawn, strict=True))
        return [images.get(id(r)) for r in rows]

    @torch.inference_mode()
    def decode(self, rows: list[Row]) -> list[Image.Image]:
        """The finished pictures, by the VAE; a group too big for the memory is cut in halves."""
        size = 1 if self.bucket else len(rows)
        images: list[Image.Image] = []
        while len(images) < len(rows):
            group = rows[len(images) : len(images) + size]
            try:
                pixels = self._decode(torch.cat([r.latents for r in group]))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or size == 1:
                    raise
                size //= 2
                continue
            drawn = self.model.pipeline.image_processor.postprocess(pixels.float(), output_type="pil")
            images += [row.finish(image) for row, image in zip(group, drawn, strict=True)]
        return images

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        vae, threads = self.model.pipeline.vae, self.model.threads
        if len(latents) == 1:
            with threads.use(vae, positions(latents)):
                return self.model.decode(latents)
        return threads.shared(
            vae, lambda start, stop: self.model.decode(latents[start:stop]), len(latents), positions(latents)
        )


def _guard(row: Row, act: Any) -> Any:
    try:
        return act()
    except Exception as error:
        row.error = failure(error)
        return None
