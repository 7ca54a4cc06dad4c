"""The model's own safety checker, where the owner asks for one and the model ships it: SAFETY_CHECKER=1.

A flagged picture is blurred, never black, and its notes say so. While it is made nobody has checked it: previews of
such a model are all blurred.
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
    """A ``StableDiffusionSafetyChecker`` with its feature extractor. Pictures are looked at one by one, so that no company
    can change what is found."""

    def __init__(self, checker: Any, extractor: Any, threads: Threads) -> None:
        self._checker, self._extractor, self._threads = checker, extractor, threads

    @classmethod
    def take(cls, pipeline: Any, threads: Threads) -> SafetyChecker | None:
        """The pipeline's, which then has none itself: it would make pictures black. None where the model ships none."""
        from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

        checker, extractor = (getattr(pipeline, name, None) for name in ("safety_checker", "feature_extractor"))
        if not isinstance(checker, StableDiffusionSafetyChecker) or extractor is None:
            return None
        pipeline.safety_checker = None
        # it warns of a black picture, which nobody gets here
        logging.getLogger("diffusers.pipelines.stable_diffusion.safety_checker").setLevel(logging.ERROR)
        return cls(checker, extractor, threads)

    def check(self, image: Image) -> tuple[Image, list[str]]:
        """The picture, blurred where it is flagged, and what the visitor is told."""
        return (blurred(image), [FLAGGED]) if self._flags(image) else (image, [])

    def _flags(self, image: Image) -> bool:
        import numpy as np
        import torch

        with torch.inference_mode(), self._threads.use(self._checker, TOKENS):
            seen: torch.Tensor = self._extractor([image], return_tensors="pt").pixel_values
            # ``images`` is what it would blacken
            _, flagged = self._checker(
                clip_input=seen.to(self._checker.device, self._checker.dtype), images=[np.zeros((1, 1, 3))]
            )
        return bool(flagged[0])


def blurred(image: Image) -> Image:
    return image.filter(ImageFilter.GaussianBlur(max(image.size) * BLUR))


def state(asked: bool, model: str, checker: SafetyChecker | None) -> str:
    """What ``GET /healthz`` says: the owner's wish, and whether the loaded model can fulfil it. ``model`` is its name, ""
    where none is loaded."""
    if not asked:
        return "off"
    return "on" if checker or not model else f"none ({model} ships none)"
