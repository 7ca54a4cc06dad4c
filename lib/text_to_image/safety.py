"""The model's safety checker, if SAFETY_CHECKER=1 and the model ships one.

A flagged picture is blurred instead of blackened and has a note. Previews are not checked, so all previews of such a model
are blurred.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from PIL import ImageFilter

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from lib.text_to_image.threads import Threads

FLAGGED = "The model's safety checker flagged this picture, so it is blurred."
BLUR = 1 / 12  # radius as a share of the longer side: keeps colours but not shapes
TOKENS = 257  # of CLIP ViT-L/14, the network of diffusers' checker


class SafetyChecker:
    """A ``StableDiffusionSafetyChecker`` with its feature extractor. Pictures are checked one by one, so that
    the result does not depend on the batch."""

    def __init__(self, checker: Any, extractor: Any, threads: Threads) -> None:
        self._checker, self._extractor, self._threads = checker, extractor, threads

    @classmethod
    def take_from(cls, pipeline: Any, threads: Threads) -> SafetyChecker | None:
        """Remove the checker from the pipeline, which would blacken pictures, and wrap it. None if the model ships none."""
        from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

        checker, extractor = (getattr(pipeline, name, None) for name in ("safety_checker", "feature_extractor"))
        if not isinstance(checker, StableDiffusionSafetyChecker) or extractor is None:
            return None
        pipeline.safety_checker = None
        # suppress its warnings about black pictures, as none are made here
        logging.getLogger("diffusers.pipelines.stable_diffusion.safety_checker").setLevel(logging.ERROR)
        return cls(checker, extractor, threads)

    def check(self, image: Image) -> tuple[Image, list[str]]:
        """Return the picture, blurred if it is flagged, and its notes."""
        return (blur(image), [FLAGGED]) if self._flags(image) else (image, [])

    def _flags(self, image: Image) -> bool:
        import numpy as np
        import torch

        with torch.inference_mode(), self._threads.use(self._checker, TOKENS):
            pixels: torch.Tensor = self._extractor([image], return_tensors="pt").pixel_values
            # ``images`` are the ones that it would blacken
            _, flagged = self._checker(
                clip_input=pixels.to(self._checker.device, self._checker.dtype), images=[np.zeros((1, 1, 3))]
            )
        return bool(flagged[0])


def blur(image: Image) -> Image:
    return image.filter(ImageFilter.GaussianBlur(max(image.size) * BLUR))


def state(asked: bool, model: str, checker: SafetyChecker | None) -> str:
    """Return the value in ``GET /healthz``: whether a checker is requested and available. ``model``: name of the loaded
    model, "" if none is loaded."""
    if not asked:
        return "off"
    return "on" if checker or not model else f"none ({model} ships none)"
