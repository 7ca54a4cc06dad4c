"""What a family says of its models: everything in which one architecture differs from another.

Rows and batches (``row.py``, ``batch.py``, ``predict.py``) see latents as [n, C, h, w] float32, whatever the network
packs them into, and a network as a function of latents, timesteps and conditioning.
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
    """One row of the network: ``hidden`` [tokens, width]; ``added`` and ``timestep_cond`` as the family needs.

    Tensors of one name have the same shape in all rows of a model, since the network gets them stacked. Only ``hidden``
    may have more tokens in one row than in another, where the family's ``predict`` takes that.
    """

    hidden: torch.Tensor
    added: dict[str, torch.Tensor] = field(default_factory=dict)
    timestep_cond: torch.Tensor | None = None


class Family(ABC):
    """For the pipeline of one loaded model. ``device`` and ``dtype`` are the network's."""

    pipelines: ClassVar[tuple[str, ...]] = ()  # diffusers' classes of pipelines that belong to it
    schedulers: ClassVar[tuple[str, ...]] = SCHEDULERS  # the names that it takes
    multiple: ClassVar[int] = 8  # of which width and height are multiples, in pixels
    half: ClassVar[str] = "float16"  # what an accelerator computes in where DTYPE leaves it open
    vae_upcast: ClassVar[bool] = True  # whether the VAE leaves fp16's range where its config says ``force_upcast``

    def __init__(self, pipeline: Any, device: torch.device, dtype: torch.dtype) -> None:
        self.pipeline, self.device, self.dtype = pipeline, device, dtype

    @staticmethod
    @abstractmethod
    def supports(pipeline: Any) -> bool:
        """Whether the model was trained with noise as this family has it. Where not, it works one request at a time."""

    @property
    @abstractmethod
    def network(self) -> Any:
        """The one that denoises."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """Of the latents."""

    @property
    def text_encoder(self) -> tuple[Any, int]:
        """The largest text encoder, and the tokens that ``encode`` sends through it."""
        return self.pipeline.text_encoder, 2 * self.pipeline.tokenizer.model_max_length

    def guided(self, request: Request) -> bool:
        """Whether the negative prompt takes a row of its own (Ho & Salimans 2022)."""
        return request.guided

    @abstractmethod
    def encode(self, request: Request) -> tuple[Conditioning, Conditioning | None]:
        """For the prompt, and for the negative prompt; None where it is not ``guided``."""

    def notes(self, request: Request) -> list[str]:
        """What the visitor is told beside the picture: whatever of the request the model cannot use."""
        return []

    def latent_shape(self, request: Request) -> tuple[int, int, int, int]:
        """Of its latents: [1, C, h, w]."""
        factor = self.pipeline.vae_scale_factor
        return 1, self.channels, request.height // factor, request.width // factor

    @abstractmethod
    def make_schedule(self, request: Request) -> tuple[Any, list[Any]]:
        """A scheduler of the request's own, and its timesteps on the CPU. Raises InvalidValue for steps it refuses."""

    @abstractmethod
    def initial_latents(self, scheduler: Any, noise: torch.Tensor) -> torch.Tensor:
        """The latents before the first step, of standard normal ``noise``."""

    def skipped_steps(self, request: Request) -> int:
        """Steps that a start picture saves, as diffusers' img2img pipelines count (``get_timesteps``)."""
        return request.steps - request.steps_run

    def remaining_timesteps(self, scheduler: Any, timesteps: list[Any], request: Request) -> list[Any]:
        """Those that are left with a start picture; the scheduler begins there."""
        first = self.skipped_steps(request) * getattr(scheduler, "order", 1)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(first)
        return timesteps[first:]

    @abstractmethod
    def add_noise(self, scheduler: Any, latents: torch.Tensor, noise: torch.Tensor, timestep: Any) -> torch.Tensor:
        """Clean ``latents`` with standard normal ``noise`` as at this timestep, at which the scheduler is now."""

    @abstractmethod
    def scale_model_input(self, scheduler: Any, latents: torch.Tensor, timestep: Any) -> torch.Tensor:
        """What the network sees of the latents at this timestep."""

    @abstractmethod
    def predict(self, noisy: torch.Tensor, times: torch.Tensor, conditions: Sequence[Conditioning]) -> torch.Tensor:
        """The network's output [n, C, h, w] in its dtype; ``noisy`` is from ``scale_model_input``, ``times`` [n] float32."""

    @abstractmethod
    def clean_estimate(self, noisy: torch.Tensor, output: torch.Tensor, times: Sequence[float]) -> torch.Tensor:
        """The estimate of the clean latents, for previews, from what the network saw and what it gave. All [n, C, h, w]."""
