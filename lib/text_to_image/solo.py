"""A batch of one request for models without a family, which runs diffusers' pipeline step by step.

The pipeline runs in its own thread and blocks in its step callback until ``step`` is called, so callers use the same
interface as for ``batch.Batch``: join, step, leave and decode. A few old pipelines (unCLIP, latent diffusion) have no such
callback; there, each call of the denoising network counts as a step. A pipeline with neither cannot be stopped once it has
started, and other models wait for it.
"""

from __future__ import annotations

import inspect
import logging
import threading
from typing import Any

import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting
from PIL import Image

from lib.errors import Cancelled, GenerationFailed, InvalidValue, WorkbenchError
from lib.text_to_image.loras.adapters import TEXT_ENCODERS
from lib.text_to_image.models import Model
from lib.text_to_image.request import Request

log = logging.getLogger(__name__)

NETWORKS = ("unet", "transformer", "prior", "decoder")  # diffusers' names of the denoising network


class SoloRow:
    """The running request."""

    num_rows = 1

    def __init__(self, model: Model, request: Request) -> None:
        self.model, self.request = model, request
        self.pipeline = _pipeline(model, request)
        self.steps = request.steps_run
        self.loras = model.adapters.with_weights(request.loras)
        self.calls = 0
        self.error: WorkbenchError | None = None
        self.image: Image.Image | None = None
        self.stopped = self.finished = False
        self._go, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._work, daemon=True)

    @property
    def left(self) -> int:
        return 0 if self.finished else max(1, self.steps - self.calls)

    @property
    def step(self) -> int:
        return min(self.calls, self.steps)

    def advance(self) -> None:
        """Run to the end of the next step, or to the end of the picture."""
        if not self._thread.is_alive() and not self.finished:
            self._thread.start()
        self._go.release()
        self._paused.acquire()

    def _work(self) -> None:
        self._go.acquire()
        try:
            self.image = self._call()
        except Cancelled:
            pass
        except Exception as error:
            log.error("a pipeline broke", exc_info=error)
            self.error = GenerationFailed(f"The model failed on this request ({type(error).__name__}).")
        self.finished = True
        self._paused.release()

    @torch.inference_mode()
    def _call(self) -> Image.Image:
        pipeline, request, start = self.pipeline, self.request, self.request.start
        known = inspect.signature(pipeline.__call__).parameters
        options: dict[str, Any] = {
            "guidance_scale": request.guidance_scale,
            "width": request.width,
            "height": request.height,
        }
        if request.negative_prompt:  # else the pipeline's default, None or ""
            options["negative_prompt"] = request.negative_prompt
        if start is not None:
            options |= {"image": start.image, "mask_image": start.mask_image, "strength": start.strength}
        # newer pipelines have the first callback, some older ones only the second
        if "callback_on_step_end" in known:
            options["callback_on_step_end"] = self._on_step
        elif "callback" in known:
            options |= {"callback": lambda step, timestep, latents: self._on_step(pipeline, step, timestep, {})}
        has_callback = "callback_on_step_end" in options or "callback" in options
        hooks = [] if has_callback else [network.register_forward_hook(self._on_call) for network in _networks(pipeline)]
        try:
            with self.model.adapters.apply([self.loras], *TEXT_ENCODERS, *NETWORKS):
                image = pipeline(
                    prompt=request.prompt,
                    num_inference_steps=request.steps,
                    output_type="pil",
                    generator=torch.Generator().manual_seed(request.seed),
                    **{k: v for k, v in options.items() if k in known},
                ).images[0]
            return image if start is None else start.composite(image)
        finally:
            for hook in hooks:
                hook.remove()

    def _on_call(self, network: torch.nn.Module, inputs: Any, output: Any) -> None:
        self._on_step(None, self.calls, None, {})

    def _on_step(self, pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        self.calls = step + 1
        self._paused.release()
        self._go.acquire()
        if self.stopped:
            raise Cancelled
        return tensors


def _pipeline(model: Model, request: Request) -> Any:
    """Return the pipeline for text to image, image to image or inpainting. Raises InvalidValue if there is none."""
    if request.start is None:
        return model.pipeline
    no_mask = request.start.mask is None
    field, auto = ("image", AutoPipelineForImage2Image) if no_mask else ("mask", AutoPipelineForInpainting)
    try:
        pipeline = auto.from_pipe(model.pipeline)
    except ValueError:
        raise InvalidValue(field, "a picture", f"no {field}, because {model.name} does not take one") from None
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _networks(pipeline: Any) -> list[torch.nn.Module]:
    candidates = [getattr(pipeline, name, None) for name in NETWORKS]
    return [network for network in candidates if isinstance(network, torch.nn.Module)]


class SoloBatch:
    """Runs one request at a time, with the model's own scheduler, whatever the request's."""

    bucket = 0
    limit = 1

    def __init__(self, model: Model) -> None:
        self.model = model
        self.rows: list[SoloRow] = []

    @property
    def num_rows(self) -> int:
        return len(self.rows)

    def join(self, request: Request) -> SoloRow:
        assert not self.rows
        self.rows = [SoloRow(self.model, request)]
        return self.rows[0]

    def leave(self, row: SoloRow) -> None:
        if row in self.rows:
            row.stopped, self.rows = True, []
            if row.calls:
                row.advance()  # lets its thread raise Cancelled and end

    def step(self) -> list[SoloRow]:
        for row in self.rows:
            row.advance()
        ended, self.rows = [r for r in self.rows if r.finished], [r for r in self.rows if not r.finished]
        return ended

    def previews(self, rows: list[SoloRow]) -> list[None]:
        return [None] * len(rows)

    def decode(self, rows: list[SoloRow]) -> list[Image.Image | None]:
        return [row.image for row in rows]
