"""The schedulers by name, in their variants for flow matching.

DDIM would be the same as Euler. PNDM and Karras sigmas (which start far above flow matching's 1) have no such variant.
"""

from __future__ import annotations

import math
from typing import Any

import diffusers
import torch

from lib.text_to_image.schedulers import set_timesteps

FLOW_SCHEDULERS = ("DPM++ 2M", "Euler", "Euler a", "UniPC", "LCM", "Heun")


class EulerAncestral(diffusers.LTXEulerAncestralRFScheduler):
    """diffusers' port of ComfyUI's ``euler_ancestral`` for flow matching.

    The original combines sigmas on the CPU with latents on an accelerator, which fails. As scalars they work together, and
    need no device sync.
    """

    def _sigma_broadcast(self, sigma: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
        return sigma.reshape(())


def make_scheduler(
    name: str, trained: Any, steps: int, patches: int, sigmas: list[float] | None = None
) -> tuple[Any, list[Any]]:
    """Return a new scheduler by name with the shift of the ``trained`` one, and its timesteps, on the CPU.

    ``patches``: of the picture, for a size-dependent shift; ``sigmas``: of the model's pipeline, if it sets them.
    Raises InvalidValue for an unsupported number of steps.
    """
    config = trained.config
    mu = shift_by_size(config, patches) if config.use_dynamic_shifting else None
    # the same as a factor, for schedulers that support only a fixed shift (Esser et al. 2024, section 5.3.2)
    shift = config.shift if mu is None else math.exp(mu) if config.time_shift_type == "exponential" else mu
    base_options: dict[str, Any] = {"num_train_timesteps": config.num_train_timesteps}
    solver_options = base_options | {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": shift}
    if name in ("Heun", "DPM++ 2M", "UniPC"):
        if name == "Heun":
            scheduler: Any = diffusers.FlowMatchHeunDiscreteScheduler(**base_options, shift=shift)
        elif name == "UniPC":
            scheduler = diffusers.UniPCMultistepScheduler(**solver_options)
        else:
            scheduler = diffusers.DPMSolverMultistepScheduler(**solver_options, algorithm_type="dpmsolver++")
        return scheduler, set_timesteps(scheduler, steps)
    kind = diffusers.FlowMatchLCMScheduler if name == "LCM" else diffusers.FlowMatchEulerDiscreteScheduler
    scheduler = kind.from_config(config)
    timesteps = set_timesteps(scheduler, steps, sigmas=sigmas, mu=mu)
    if name == "Euler a":  # uses Euler's sigmas; its last timestep is the end, not a step
        euler_sigmas = scheduler.sigmas.tolist()
        scheduler = EulerAncestral(**base_options)
        timesteps = set_timesteps(scheduler, steps, sigmas=euler_sigmas)[:-1]
    return scheduler, timesteps


def shift_by_size(config: Any, patches: int) -> float:
    """Return mu, linear in the number of patches, as in diffusers' pipelines (``calculate_shift``)."""
    slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
    return patches * slope + (config.base_shift - slope * config.base_image_seq_len)
