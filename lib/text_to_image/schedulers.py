"""The schedulers by name. Each row of a batch has its own instance."""

from __future__ import annotations

from typing import Any

import diffusers

from lib.errors import InvalidValue
from lib.text_to_image.request import SCHEDULERS

TABLE: dict[str, tuple[str, dict[str, Any]]] = {
    # the default clips latents as if they were pixels
    "DDIM": ("DDIMScheduler", {"clip_sample": False}),
    "DPM++ 2M": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "use_karras_sigmas": False}),
    "DPM++ 2M Karras": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True}),
    "Euler": ("EulerDiscreteScheduler", {}),
    "Euler a": ("EulerAncestralDiscreteScheduler", {}),
    "UniPC": ("UniPCMultistepScheduler", {}),
    "LCM": ("LCMScheduler", {}),
    "Heun": ("HeunDiscreteScheduler", {}),
    "PNDM": ("PNDMScheduler", {"skip_prk_steps": True}),
}
assert tuple(TABLE) == SCHEDULERS


def make_scheduler(name: str, trained: Any) -> Any:
    """Return a new scheduler by name with the noise schedule and prediction type of the ``trained`` one."""
    kind, extra = TABLE[name]
    return getattr(diffusers, kind).from_config(trained.config, **extra)


def set_timesteps(scheduler: Any, steps: int, **options: Any) -> list[Any]:
    """Set the timesteps, on the CPU (where a scalar needs no device sync), and return them. Raises InvalidValue."""
    try:
        scheduler.set_timesteps(steps, device="cpu", **options)
    except (ValueError, IndexError, AssertionError) as error:
        # e.g. LCM supports at most its 50 distilled timesteps
        raise InvalidValue("steps", steps, f"fewer for this scheduler ({type(error).__name__}: {error})") from None
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    return list(scheduler.timesteps)
