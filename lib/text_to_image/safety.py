"""The model's safety checker, if SAFETY_CHECKER=1 and the model ships one.

A flagged picture is blurred, not black, and has a note. Previews are not checked, so all previews of such a model are
blurred.
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
BLUR = 1 / 12  # of the longer side, as the radius: colours are left, shapes are not
TOKENS = 257  # patches of CLIP ViT-L/14, which diffusers' checker is


class SafetyChecker:
    """A ``StableDiffusionSafetyChecker`` with its feature extractor. Pictures are checked one by one, so that
    the result does not depend on the batch."""

    def __init__(self, checker: Any, extractor: Any, threads: Threads) -> None:
        self._checker, self._extractor, self._threads = checker, extractor, threads

    @classmethod
    def take_from(cls, pipeline: Any, threads: Threads) -> SafetyChecker | None:
        """Takes the checker out of the pipeline, which would else make pictures black. None if the model ships none."""
        from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

        checker, extractor = (getattr(pipeline, name, None) for name in ("safety_checker", "feature_extractor"))
        if not isinstance(checker, StableDiffusionSafetyChecker) or extractor is None:
            return None
        pipeline.safety_checker = None
        # it warns of black pictures, which are not made here
        logging.getLogger("diffusers.pipelines.stable_diffusion.safety_checker").setLevel(logging.ERROR)
        return cls(checker, extractor, threads)

    def check(self, image: Image) -> tuple[Image, list[str]]:
        """The picture, blurred if it is flagged, and its notes."""
        return (blur(image), [FLAGGED]) if self._flags(image) else (image, [])

    def _flags(self, image: Image) -> bool:
        import numpy as np
        import torch

        with torch.inference_mode(), self._threads.use(self._checker, TOKENS):
            seen: torch.Tensor = self._extractor([image], return_tensors="pt").pixel_values
            # ``images`` are those it would blacken
            _, flagged = self._checker(
                clip_input=seen.to(self._checker.device, self._checker.dtype), images=[np.zeros((1, 1, 3))]
            )
        return bool(flagged[0])


def blur(image: Image) -> Image:
    return image.filter(ImageFilter.GaussianBlur(max(image.size) * BLUR))


def state(asked: bool, model: str, checker: SafetyChecker | None) -> str:
    """The value in ``GET /healthz``: whether a checker is requested and available. ``model`` is the loaded model's name,
    "" if none is loaded."""
    if not asked:
        return "off"
    return "on" if checker or not model else f"none ({model} ships none)"
