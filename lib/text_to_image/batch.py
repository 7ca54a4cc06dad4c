"""The step-level batch: rows of different requests share every UNet call.

Each row has its own latents, conditioning, scheduler and random generator, so rows join and
leave between steps and never change each other's picture. Pure: no threads, no queue, no clock.

A guided request costs two UNet rows (prompt and negative prompt), any other one. Latents are
float32 throughout; only what the UNet sees is cast to the model's dtype.
"""

from __future__ import annotations

import inspect
import logging
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image

from lib.errors import GenerationFailed, WorkbenchError, out_of_memory
from lib.text_to_image import preview
from lib.text_to_image.families import Conditioning
from lib.text_to_image.models import Model
from lib.text_to_image.request import Request
from lib.text_to_image.schedulers import make_scheduler, plan

log = logging.getLogger(__name__)


class Row:
    """One request under way. ``calls`` of ``len(timesteps)`` UNet calls are done."""

    __slots__ = (
        "calls",
        "error",
        "latents",
        "negative",
        "noisy",
        "options",
        "output",
        "positive",
        "request",
        "scheduler",
        "timesteps",
    )

    def __init__(self, model: Model, request: Request) -> None:
        assert model.encode is not None
        pipeline = model.pipeline
        self.request = request
        self.scheduler = make_scheduler(request.scheduler, pipeline.scheduler)
        self.timesteps = plan(self.scheduler, request.steps)
        with model.threads.use(pipeline.text_encoder, 2 * pipeline.tokenizer.model_max_length):
            self.positive, self.negative = model.encode(pipeline, request)
        # On the CPU, so the noise is the same on every device and whoever shares the batch.
        generator = torch.Generator().manual_seed(request.seed)
        factor = pipeline.vae_scale_factor
        shape = (1, pipeline.unet.config.in_channels, request.height // factor, request.width // factor)
        noise = randn_tensor(shape, generator=generator, dtype=torch.float32)
        self.latents = (noise * self.scheduler.init_noise_sigma).to(model.device)
        takes = inspect.signature(self.scheduler.step).parameters
        self.options = {"generator": generator} if "generator" in takes else {}
        self.calls = 0
        self.error: WorkbenchError | None = None
        self.noisy = self.output = self.latents

    @property
    def width(self) -> int:
        """UNet rows it takes."""
        return 1 if self.negative is None else 2

    @property
    def left(self) -> int:
        return len(self.timesteps) - self.calls

    @property
    def step(self) -> int:
        """Steps done as the user counts them: Heun and PNDM call the UNet more often than that."""
        return self.request.steps * self.calls // len(self.timesteps)

    def scale(self) -> torch.Tensor:
        self.noisy = self.scheduler.scale_model_input(self.latents, self.timesteps[self.calls])
        return self.noisy

    def advance(self, output: torch.Tensor) -> None:
        self.output = output
        t = self.timesteps[self.calls]
        self.latents = self.scheduler.step(output, t, self.latents, **self.options, return_dict=False)[0]
        self.calls += 1


class Batch:
    """Rows of one model and one picture size.

    ``limit`` is the most UNet rows in a call; it is halved when the device runs out of memory.
    With ``bucket`` > 0 every call has exactly that many rows (padded), and pictures are decoded
    one at a time: kernels then never change with the company, and pictures are bit-exact.
    """

    def __init__(self, model: Model, *, limit: int = 32, bucket: int = 0) -> None:
        self.model, self.limit, self.bucket = model, bucket or limit, bucket
        self.rows: list[Row] = []

    @property
    def width(self) -> int:
        return sum(row.width for row in self.rows)

    @torch.inference_mode()
    def join(self, request: Request) -> Row:
        """``request`` is settled (seed, size). Raises InvalidValue for steps the scheduler refuses."""
        row = Row(self.model, request)
        self.rows.append(row)
        return row

    def leave(self, row: Row) -> None:
        if row in self.rows:
            self.rows.remove(row)

    @torch.inference_mode()
    def step(self) -> list[Row]:
        """One UNet call for all rows, then each row's own scheduler step.

        Returns the rows that ended and left: ``left == 0``, or ``error`` is set. A row that
        breaks takes no other with it.
        """
        ready: list[Row] = []
        for row in self.rows:
            if _guard(row, row.scale) is not None:
                ready.append(row)
        for row, output in zip(ready, self._outputs(ready), strict=True):
            if output is not None:
                _guard(row, lambda row=row, output=output: row.advance(output) or True)
        for row in ready:
            # NaN spreads and never leaves: looking once, at the end, costs one sync instead of n
            if row.left == 0 and not row.error and not torch.isfinite(row.latents).all():
                row.error = GenerationFailed("The model produced values that are not numbers; try another seed or dtype.")
        ended = [row for row in self.rows if row.error or row.left == 0]
        self.rows = [row for row in self.rows if row not in ended]
        return ended

    def _outputs(self, rows: list[Row]) -> list[torch.Tensor | None]:
        """The guided prediction [1, C, h, w] of each row; None, with ``error`` set, where it broke."""
        if not rows:
            return []
        try:
            return list(self._predict(rows).split(1))
        except Exception as error:  # whatever the network raises: find out whose fault it is
            if len(rows) == 1:
                rows[0].error = _failure(error)
                return [None]
            return [out for row in rows for out in self._outputs([row])]

    def _predict(self, rows: list[Row]) -> torch.Tensor:
        """Ho & Salimans 2022, eq. 6, as diffusers scales it: negative + scale (prompt - negative)."""
        inputs, times, conditions, prompt_at, negative_at = [], [], [], [], []
        for row in rows:
            negative_at.append(len(inputs))
            for condition in (row.negative, row.positive) if row.negative else (row.positive,):
                inputs.append(row.noisy)
                times.append(float(row.timesteps[row.calls]))
                conditions.append(condition)
            prompt_at.append(len(inputs) - 1)
        out = self._unet(torch.cat(inputs), torch.tensor(times), conditions, together=len(rows) > 1).float()
        scale = torch.tensor([row.request.guidance_scale if row.negative else 1.0 for row in rows])
        prompt, negative = out[prompt_at], out[negative_at]
        return negative + scale.to(out.device)[:, None, None, None] * (prompt - negative)

    def _unet(
        self, noisy: torch.Tensor, times: torch.Tensor, conditions: list[Conditioning], together: bool
    ) -> torch.Tensor:
        """[n, C, h, w] float32 in and out, in calls of at most ``limit`` rows."""
        model, n = self.model, len(noisy)
        parts: list[torch.Tensor] = []
        while sum(map(len, parts)) < n:
            start = sum(map(len, parts))
            end = min(n, start + self.limit)
            try:
                parts.append(self._call(noisy[start:end], times[start:end], conditions[start:end], together))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or self.limit == 1 or self.bucket:
                    raise
                self.limit = max(1, min(self.limit, end - start) // 2)
                if model.device.type == "cuda":
                    torch.cuda.empty_cache()
        return torch.cat(parts)

    def _call(
        self, noisy: torch.Tensor, times: torch.Tensor, conditions: list[Conditioning], together: bool
    ) -> torch.Tensor:
        model, n = self.model, len(noisy)
        extra = self.bucket - n if self.bucket else 0
        if extra:
            noisy = torch.cat([noisy, noisy[-1:].expand(extra, -1, -1, -1)])
            times = torch.cat([times, times[-1:].expand(extra)])
            conditions = conditions + [conditions[-1]] * extra
        added = {k: torch.stack([c.added[k] for c in conditions]) for k in conditions[0].added}
        scales = [c.timestep_cond for c in conditions if c.timestep_cond is not None]
        # Several threads cut a matrix where it suits them, so a row's rounding would depend on its place.
        with model.threads.use(model.pipeline.unet, positions(noisy), together=together, one=bool(self.bucket)):
            out = model.pipeline.unet(
                noisy.to(model.dtype),
                times.to(model.device),
                encoder_hidden_states=torch.stack([c.hidden for c in conditions]),
                timestep_cond=torch.stack(scales) if scales else None,
                added_cond_kwargs=added or None,
                return_dict=False,
            )[0]
        return out[:n]

    @torch.inference_mode()
    def previews(self, rows: list[Row]) -> list[Image.Image | None]:
        """One small picture a row, of its estimate of the clean latents."""
        weights, started = self.model.preview_weights, [r for r in rows if r.calls]
        if weights is None or not started:
            return [None] * len(rows)
        trained = self.model.pipeline.scheduler
        at = [round(float(r.timesteps[r.calls - 1])) for r in started]
        alpha = trained.alphas_cumprod[at].to(self.model.device)[:, None, None, None]
        clean = preview.clean_estimate(
            torch.cat([r.noisy for r in started]),
            torch.cat([r.output for r in started]),
            alpha,
            trained.config.prediction_type,
        )
        images = dict(zip(map(id, started), preview.to_images(clean, weights), strict=True))
        return [images.get(id(r)) for r in rows]

    @torch.inference_mode()
    def decode(self, rows: list[Row]) -> list[Image.Image]:
        """The finished pictures, by the VAE; a group too big for the memory is cut in halves."""
        size = 1 if self.bucket else len(rows)
        images: list[Image.Image] = []
        while len(images) < len(rows):
            group = rows[len(images) : len(images) + size]
            try:
                latents = torch.cat([r.latents for r in group])
                with self.model.threads.use(self.model.pipeline.vae, positions(latents), together=len(group) > 1):
                    pixels = self.model.decode(latents)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or size == 1:
                    raise
                size //= 2
                continue
            images += self.model.pipeline.image_processor.postprocess(pixels.float(), output_type="pil")
        return images


def positions(latents: torch.Tensor) -> int:
    """Latent pixels of [n, C, h, w]."""
    return latents.shape[0] * latents.shape[2] * latents.shape[3]


def _guard(row: Row, act: Any) -> Any:
    try:
        return act()
    except Exception as error:
        row.error = _failure(error)
        return None


def _failure(error: Exception) -> WorkbenchError:
    if isinstance(error, WorkbenchError):
        return error
    if out_of_memory(error):
        return GenerationFailed("The device has too little memory for this picture; try a smaller one.")
    log.error("a row broke", exc_info=error)
    return GenerationFailed(f"The model broke on this request ({type(error).__name__}).")
