"""The catalogue of models, and a loaded model. Imports neither torch nor diffusers.

A *source* is what the owner lists in MODELS: the embedded model's name, ``name=/folder`` or a Hub
id. Visitors see names only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.errors import InvalidValue
from lib.settings import EMBEDDED, EMBEDDED_FOLDER, Settings
from lib.text_to_image.loras.catalogue import LoraCatalogue
from lib.text_to_image.request import SCHEDULERS, Request

if TYPE_CHECKING:
    import torch

    from lib.text_to_image.compiled import CompiledUNet
    from lib.text_to_image.families import Family
    from lib.text_to_image.loras.adapters import Adapters
    from lib.text_to_image.safety import SafetyChecker
    from lib.text_to_image.threads import Threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a model comes from: a local ``folder`` or a Hub ``repository`` at a ``revision``."""

    name: str
    folder: Path | None = None
    repository: str = ""
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> Source:
        """Parse an entry of MODELS."""
        name, equals, folder = text.partition("=")
        if equals:
            return cls(name=name, folder=Path(folder))
        if text == EMBEDDED:
            return cls(name=EMBEDDED, folder=EMBEDDED_FOLDER)
        repository, _, revision = text.partition("@")
        return cls(name=repository, repository=repository, revision=revision or None)


class Catalogue:
    """The models that visitors may choose from, in the owner's order."""

    def __init__(self, settings: Settings) -> None:
        self.sources = {s.name: s for s in map(Source.parse, settings.models)}
        self._max_steps = settings.max_steps
        self.loras = LoraCatalogue(settings.loras)
        self.default = settings.default_model or next(iter(self.sources), "")
        if self.default not in self.sources:
            raise InvalidValue("DEFAULT_MODEL", self.default, ", ".join(self.sources) or "a name from MODELS")

    @property
    def names(self) -> list[str]:
        return list(self.sources)

    def check(self, request: Request) -> Source:
        """Return the source of the request's model. Raises InvalidValue for a model, a LoRA or a number of steps that is
        not available here."""
        source = self.choose(request.model)
        self.loras.check(request.loras)
        if request.steps > self._max_steps:
            raise InvalidValue("steps", request.steps, f"1 to {self._max_steps} here")
        return source

    def choose(self, name: str) -> Source:
        """Return the source of a model, "" for the default. Raises InvalidValue for a name that is not listed."""
        if (name or self.default) not in self.sources:
            raise InvalidValue("model", name, ", ".join(self.names))
        return self.sources[name or self.default]


def suggested(name: str, pipeline: str = "") -> dict[str, Any]:
    """Return recommended settings: few steps and no guidance for distilled models. ``pipeline``: its diffusers class."""
    low = name.lower()
    flux = "flux" in low or pipeline == "FluxPipeline"
    sd3 = "stable-diffusion-3" in low or "sd3" in low or pipeline == "StableDiffusion3Pipeline"
    if flux or sd3:  # trained with flow matching; numbers from their authors
        few = "schnell" in low or "turbo" in low
        scale = 0.0 if few else 3.5 if flux else 5.0
        return {"steps": 4 if few else 28, "guidance_scale": scale, "scheduler": "Euler"}
    if "turbo" in low:
        return {"steps": 4, "guidance_scale": 0.0, "scheduler": "Euler a"}
    if name == EMBEDDED:
        return {"steps": 20, "guidance_scale": 4.0, "scheduler": "DPM++ 2M"}
    return {"steps": 25, "guidance_scale": 7.5, "scheduler": "DPM++ 2M Karras"}


@dataclass(slots=True, kw_only=True)
class Model:
    """A loaded model. ``family`` is None for one that runs one request at a time."""

    name: str
    revision: str
    pipeline: Any
    device: torch.device
    dtype: torch.dtype
    family: Family | None
    size: int
    threads: Threads
    adapters: Adapters
    preview_weights: torch.Tensor | None = None
    safety: SafetyChecker | None = None
    compiled: CompiledUNet | None = None

    def resolve(self, request: Request) -> Request:
        """Fill in the request's size. Raises InvalidValue for a size outside half to double the trained one, and for a size
        or scheduler that the model's family does not support."""
        if self.family is None:
            return resolve_size(request, self.name, self.size)
        return resolve_size(request, self.name, self.size, self.family.multiple, self.family.schedulers)

    def rows(self, request: Request) -> int:
        """Return the rows that the request takes per call of the network: 2 with guidance, else 1."""
        return 2 if self.family is not None and self.family.guided(request) else 1

    def close(self) -> None:
        """Stop background work: the compilation of the UNet."""
        if self.compiled is not None:
            self.compiled.close()

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode the network's latents [n, C, h, w] to pictures [n, 3, H, W] in -1..1, in the VAE's dtype."""
        from lib.text_to_image import vae

        return vae.decode(self.pipeline.vae, latents)


def resolve_size(
    request: Request, name: str, size: int, multiple: int = 8, schedulers: Sequence[str] = SCHEDULERS
) -> Request:
    """Do the same as ``Model.resolve``, for callers that know only the trained ``size`` in pixels."""
    start, width, height = request.start, request.width, request.height
    if start is not None:
        width, height = start.size(size, width, height, multiple)
    width, height = width or size, height or size
    low, high = max(64, size // 2), size * 2
    for field, value in (("width", width), ("height", height)):
        if not low <= value <= high:
            raise InvalidValue(field, value, f"{low} to {high} for {name} (trained at {size})")
        if value % multiple:
            raise InvalidValue(field, value, f"a multiple of {multiple} for {name}")
    if request.scheduler not in schedulers:
        raise InvalidValue("scheduler", request.scheduler, f"{', '.join(schedulers)} for {name}")
    return replace(request, width=width, height=height, model=name, start=start and start.fit(width, height))
