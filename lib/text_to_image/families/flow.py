"""Base of the families trained with flow matching (Lipman et al. 2023; Esser et al. 2024, section 3.1).

Noisy latents are x = (1 - sigma) x0 + sigma noise, the network predicts the velocity v = noise - x0, and its timestep is
1000 sigma.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from lib.text_to_image.families.base import Family
from lib.text_to_image.families.flow_schedulers import FLOW_SCHEDULERS, make_scheduler
from lib.text_to_image.request import Request


class FlowFamily(Family):
    """Family of transformers trained with flow matching."""

    schedulers = FLOW_SCHEDULERS
    multiple = 16  # the network uses patches of 2 x 2 latent pixels

    @staticmethod
    def supports(pipeline: Any) -> bool:
        return isinstance(pipeline.scheduler, FlowMatchEulerDiscreteScheduler)

    @property
    def network(self) -> Any:
        return self.pipeline.transformer

    def patches(self, request: Request) -> int:
        """Return the number of patches of a picture, on which a size-dependent timestep shift is based."""
        _, _, height, width = self.latent_shape(request)
        return (height // 2) * (width // 2)

    def sigmas(self, request: Request) -> list[float] | None:
        """Return the sigmas before the shift, or None for the scheduler's default."""
        return None

    def make_schedule(self, request: Request) -> tuple[Any, list[Any]]:
        trained, patches = self.pipeline.scheduler, self.patches(request)
        return make_scheduler(request.scheduler, trained, request.steps, patches, self.sigmas(request))

    def initial_latents(self, scheduler: Any, noise: torch.Tensor) -> torch.Tensor:
        return noise

    def skipped_steps(self, request: Request) -> int:
        assert request.start is not None
        return int(request.steps - min(request.steps * request.start.strength, request.steps))

    def add_noise(self, scheduler: Any, latents: torch.Tensor, noise: torch.Tensor, timestep: Any) -> torch.Tensor:
        # from the step index, since the solvers round the timesteps
        index = scheduler.begin_index if scheduler.step_index is None else scheduler.step_index
        sigma = float(scheduler.sigmas[index])
        return (1 - sigma) * latents + sigma * noise

    def scale_model_input(self, scheduler: Any, latents: torch.Tensor, timestep: Any) -> torch.Tensor:
        return latents

    def clean_estimate(self, noisy: torch.Tensor, output: torch.Tensor, times: Sequence[float]) -> torch.Tensor:
        sigma = torch.tensor(times, device=noisy.device) / self.pipeline.scheduler.config.num_train_timesteps
        return noisy - sigma[:, None, None, None] * output
