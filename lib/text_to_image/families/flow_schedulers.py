"""The samplers by name, in their forms for flow matching.

DDIM would be Euler by another name there. PNDM, and Karras' noise levels (which begin far beyond flow matching's 1),
have no form for it.
"""

from __future__ import annotations

import math
from typing import Any

import diffusers
import torch

from lib.text_to_image.schedulers import set_timesteps

FLOW_SCHEDULERS = ("DPM++ 2M", "Euler", "Euler a", "UniPC", "LCM", "Heun")


class EulerAncestral(diffusers.LTXEulerAncestralRFScheduler):
    """diffusers' form of ComfyUI's ``euler_ancestral`` for flow matching, which mixes the CPU's noise levels with an
    accelerator's latents: as scalars they go together, and cost no device sync."""

    def _sigma_broadcast(self, sigma: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
        return sigma.reshape(())


def make_scheduler(
    name: str, trained: Any, steps: int, patches: int, sigmas: list[float] | None = None
) -> tuple[Any, list[Any]]:
    """A fresh scheduler of this name with the trained one's shift, and its timesteps on the CPU.

    ``patches`` is the number that a shift by picture size goes by, ``sigmas`` what the model's pipeline begins with
    where it says so. Raises InvalidValue for steps that it refuses.
    """
    config = trained.config
    mu = shift_by_size(config, patches) if config.use_dynamic_shifting else None
    # the same as a factor, for those that know one shift for all sizes only (Esser et al. 2024, section 5.3.2)
    shift = config.shift if mu is None else math.exp(mu) if config.time_shift_type == "exponential" else mu
    own: dict[str, Any] = {"num_train_timesteps": config.num_train_timesteps}
    solver = own | {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": shift}
    if name in ("Heun", "DPM++ 2M", "UniPC"):
        if name == "Heun":
            scheduler: Any = diffusers.FlowMatchHeunDiscreteScheduler(**own, shift=shift)
        elif name == "UniPC":
            scheduler = diffusers.UniPCMultistepScheduler(**solver)
        else:
            scheduler = diffusers.DPMSolverMultistepScheduler(**solver, algorithm_type="dpmsolver++")
        return scheduler, set_timesteps(scheduler, steps)
    kind = diffusers.FlowMatchLCMScheduler if name == "LCM" else diffusers.FlowMatchEulerDiscreteScheduler
    scheduler = kind.from_config(config)
    timesteps = set_timesteps(scheduler, steps, sigmas=sigmas, mu=mu)
    if name == "Euler a":  # on Euler's way; its last timestep is the end, not a step
        way = scheduler.sigmas.tolist()
        scheduler = EulerAncestral(**own)
        timesteps = set_timesteps(scheduler, steps, sigmas=way)[:-1]
    return scheduler, timesteps


def shift_by_size(config: Any, patches: int) -> float:
    """mu, linear in the number of patches, as diffusers' pipelines have it."""
    slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
    return patches * slope + (config.base_shift - slope * config.base_image_seq_len)
