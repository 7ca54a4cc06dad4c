"""Interface of a family: everything that differs between model architectures.

Rows and batches (``row.py``, ``batch.py``, ``predict.py``) use latents as [n, C, h, w] float32, however the network packs
them, and treat the network as a function of latents, timesteps and conditioning.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from lib.text_to_image.request import SCHEDULERS, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """Conditioning of one row of the network: ``hidden`` [tokens, width]; ``added``, ``timestep_cond``: per family.

    Tensors of the same name have the same shape in all rows of a model, since they are stacked. Only ``hidden`` may have a
    different number of tokens per row, if the family's ``predict`` supports it.
    """

    hidden: torch.Tensor
    added: dict[str, torch.Tensor] = field(default_factory=dict)
    timestep_cond: torch.Tensor | None = None


class Family(ABC):
    """Base class of families, one instance per loaded model. ``device`` and ``dtype`` are those of the network."""

    pipelines: ClassVar[tuple[str, ...]] = ()  # names of its diffusers pipeline classes
    schedulers: ClassVar[tuple[str, ...]] = SCHEDULERS  # names of the supported schedulers
    multiple: ClassVar[int] = 8  # width and height must be multiples of it, in pixels
    half: ClassVar[str] = "float16"  # default dtype on an accelerator
    vae_upcast: ClassVar[bool] = True  # whether ``force_upcast`` in the VAE's config means that it overflows in fp16

    def __init__(self, pipeline: Any, device: torch.device, dtype: torch.dtype) -> None:
        self.pipeline, self.device, self.dtype = pipeline, device, dtype

    @staticmethod
    @abstractmethod
    def supports(pipeline: Any) -> bool:
        """Return whether the model uses the family's noise process. If not, it runs one request at a time."""

    @property
    @abstractmethod
    def network(self) -> Any:
        """The denoising network."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """Number of latent channels."""

    @property
    def text_encoder(self) -> tuple[Any, int]:
        """The largest text encoder, and the number of tokens that ``encode`` passes through it."""
        return self.pipeline.text_encoder, 2 * self.pipeline.tokenizer.model_max_length

    def guided(self, request: Request) -> bool:
        """Return whether the request uses classifier-free guidance, with a second row (Ho & Salimans 2022)."""
        return request.guided

    @abstractmethod
    def encode(self, request: Request) -> tuple[Conditioning, Conditioning | None]:
        """Encode the prompt and the negative prompt. The latter is None if the request is not ``guided``."""

    def notes(self, request: Request) -> list[str]:
        """Return notes for the visitor on parameters that the model ignores."""
        return []

    def latent_shape(self, request: Request) -> tuple[int, int, int, int]:
        """Return the shape of the request's latents, [1, C, h, w]."""
        factor = self.pipeline.vae_scale_factor
        return 1, self.channels, request.height // factor, request.width // factor

    @abstractmethod
    def make_schedule(self, request: Request) -> tuple[Any, list[Any]]:
        """Return a new scheduler and its timesteps, on the CPU. Raises InvalidValue for an unsupported number of steps."""

    @abstractmethod
    def initial_latents(self, scheduler: Any, noise: torch.Tensor) -> torch.Tensor:
        """Return the latents before the first step from standard normal ``noise``."""

    def skipped_steps(self, request: Request) -> int:
        """Return the number of steps that a start picture skips, as in diffusers' img2img pipelines (``get_timesteps``)."""
        return request.steps - request.steps_run

    def remaining_timesteps(self, scheduler: Any, timesteps: list[Any], request: Request) -> list[Any]:
        """Return the timesteps that remain with a start picture, and set the scheduler to begin there."""
        first = self.skipped_steps(request) * getattr(scheduler, "order", 1)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(first)
        return timesteps[first:]

    @abstractmethod
    def add_noise(self, scheduler: Any, latents: torch.Tensor, noise: torch.Tensor, timestep: Any) -> torch.Tensor:
        """Add standard normal ``noise`` to clean ``latents`` for ``timestep``, the current one of the scheduler."""

    @abstractmethod
    def scale_model_input(self, scheduler: Any, latents: torch.Tensor, timestep: Any) -> torch.Tensor:
        """Return the network's input for the latents at ``timestep``."""

    @abstractmethod
    def predict(self, noisy: torch.Tensor, times: torch.Tensor, conditions: Sequence[Conditioning]) -> torch.Tensor:
        """Return the network's output [n, C, h, w] in its dtype, for ``scale_model_input``'s ``noisy`` and ``times`` [n]."""

    @abstractmethod
    def clean_estimate(self, noisy: torch.Tensor, output: torch.Tensor, times: Sequence[float]) -> torch.Tensor:
        """Estimate the clean latents, for previews, from the network's input and output. All are [n, C, h, w]."""
