"""The step-level batch: rows of different requests share every call of the network.

Each row has its own latents, conditioning, scheduler and random generator, so rows can join and leave between steps and
never change each other's picture. This module has no threads, queue or clock.

A guided request takes two rows of the network (prompt and negative prompt), any other takes one. Latents are float32; only
the network's input is cast to the model's dtype.
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
    """The running rows of one model and one picture size.

    ``limit``: maximum rows per call of the network, halved when the device runs out of memory. With ``bucket`` > 0, each
    call is padded to exactly that many rows and pictures are decoded one at a time, so that kernels never depend on the
    other requests and pictures are reproducible bit for bit.
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
        """Add a row for ``request``, which must have a seed and a size (``Model.resolve``). Raises InvalidValue for a
        number of steps that the scheduler does not support."""
        row = Row(self.model, request)
        self.rows.append(row)
        return row

    def leave(self, row: Row) -> None:
        """Remove a row. Does nothing if it has already left."""
        if row in self.rows:
            self.rows.remove(row)

    @torch.inference_mode()
    def step(self) -> list[Row]:
        """Call the network for all rows, then run each row's scheduler step.

        Returns the rows that ended and left the batch, with ``left == 0`` or ``error`` set. An error of a row does not
        affect the others.
        """
        ready: list[Row] = []
        for row in self.rows:
            if _guard(row, row.scale_model_input) is not None:
                ready.append(row)
        for row, output in zip(ready, self._predictor.outputs(ready), strict=True):
            if output is not None:
                _guard(row, lambda row=row, output=output: row.advance(output) or True)
        for row in ready:
            # NaN persists, so a check at the end suffices and costs one sync instead of n
            if row.left == 0 and not row.error and not torch.isfinite(row.latents).all():
                row.error = GenerationFailed("The model produced values that are not numbers; try another seed or dtype.")
        ended = [row for row in self.rows if row.error or row.left == 0]
        self.rows = [row for row in self.rows if row not in ended]
        return ended

    @torch.inference_mode()
    def previews(self, rows: list[Row]) -> list[Image.Image | None]:
        """Return a small picture per row from its estimate of the clean latents, None before the first step."""
        weights, started = self.model.preview_weights, [r for r in rows if r.calls]
        if weights is None or not started:
            return [None] * len(rows)
        clean = self.family.clean_estimate(
            torch.cat([r.noisy for r in started]),
            torch.cat([r.output for r in started]),
            [float(r.timesteps[r.calls - 1]) for r in started],
        )
        pictures = preview.to_images(clean, weights)
        if self.model.safety:  # the checker only checks finished pictures
            pictures = [blur(image) for image in pictures]
        images = dict(zip(map(id, started), pictures, strict=True))
        return [images.get(id(r)) for r in rows]

    @torch.inference_mode()
    def decode(self, rows: list[Row]) -> list[Image.Image]:
        """Decode finished rows with the VAE. A group that does not fit into memory is halved."""
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
            pictures = self.model.pipeline.image_processor.postprocess(pixels.float(), output_type="pil")
            images += [row.finish(image) for row, image in zip(group, pictures, strict=True)]
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
