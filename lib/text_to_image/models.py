"""The catalogue and the loading of models. Imports torch and diffusers only when a model is loaded.

A *source* is what the owner lists in MODELS: the embedded model's name, ``name=/folder`` or a Hub
id. Visitors see names only. Weights are read as safetensors; a pickle is never opened.
A line over 300: a source, its model and the way between them are one subject.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from logging import WARNING
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import log
from lib.errors import InvalidValue, ModelUnavailable, out_of_memory
from lib.settings import EMBEDDED, EMBEDDED_FOLDER, Settings
from lib.text_to_image.compiled import CompiledUNet
from lib.text_to_image.loras.adapters import Adapters
from lib.text_to_image.loras.catalogue import LoraCatalogue
from lib.text_to_image.request import SCHEDULERS, Request
from lib.text_to_image.safety import SafetyChecker
from lib.text_to_image.threads import Threads

if TYPE_CHECKING:
    import torch

    from lib.text_to_image.families import Family

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a model comes from: a local ``folder`` or a Hub ``repository`` at a ``revision``."""

    name: str
    folder: Path | None = None
    repository: str = ""
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> Source:
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
        self.loras = LoraCatalogue(settings.loras)
        self.default = settings.default_model or next(iter(self.sources), "")
        if self.default not in self.sources:
            raise InvalidValue("DEFAULT_MODEL", self.default, ", ".join(self.sources) or "a name from MODELS")

    @property
    def names(self) -> list[str]:
        return list(self.sources)

    def choose(self, name: str) -> Source:
        """Raises InvalidValue for a name that is not listed."""
        if (name or self.default) not in self.sources:
            raise InvalidValue("model", name, ", ".join(self.names))
        return self.sources[name or self.default]


def suggested(name: str, pipeline: str = "") -> dict[str, Any]:
    """Settings that suit the model: distilled ones want few steps and no guidance. ``pipeline``: diffusers' class."""
    low = name.lower()
    flux = "flux" in low or pipeline == "FluxPipeline"
    sd3 = "stable-diffusion-3" in low or "sd3" in low or pipeline == "StableDiffusion3Pipeline"
    if flux or sd3:  # trained with flow matching; their authors' own numbers
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

    def settle(self, request: Request) -> Request:
        """With the size filled in. Raises InvalidValue for a size outside half to double the trained one, and for
        what its family does not take."""
        if self.family is None:
            return settle(request, self.name, self.size)
        return settle(request, self.name, self.size, self.family.multiple, self.family.schedulers)

    def rows(self, request: Request) -> int:
        """Of the network, for each step."""
        return 2 if self.family is not None and self.family.guided(request) else 1

    def close(self) -> None:
        """Ends what goes on in the background."""
        if self.compiled is not None:
            self.compiled.close()

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """[n, C, h, w] as the network knows them to pictures [n, 3, H, W] in -1..1, in the VAE's dtype."""
        from lib.text_to_image import vae

        return vae.decode(self.pipeline.vae, latents)


def settle(request: Request, name: str, size: int, multiple: int = 8, schedulers: Sequence[str] = SCHEDULERS) -> Request:
    """As ``Model.settle``, for whoever knows of a model only its trained ``size`` in pixels."""
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
    return replace(request, width=width, height=height, model=name, start=start and start.fitted(width, height))


def load(source: Source, settings: Settings, report: Report = lambda stage: None) -> Model:
    """Reads the weights and puts them on the device. Raises ModelUnavailable with the reason."""
    try:
        return _load(source, settings, report)
    except ModelUnavailable:
        raise
    except Exception as error:
        raise ModelUnavailable(f"{source.name} could not be loaded ({_reason(error)}).") from error


def _load(source: Source, settings: Settings, report: Report) -> Model:
    report("importing torch and diffusers")
    import torch
    from diffusers import AutoPipelineForText2Image, DiffusionPipeline
    from diffusers.utils import logging

    from lib.text_to_image import preview
    from lib.text_to_image.families import FAMILIES

    logging.disable_progress_bar()
    device = pick_device(settings.device)
    folder, variant = source.folder, None
    if folder is None:
        report(f"downloading {source.name}")
        folder, variant = _download(source, half=pick_dtype(settings.dtype, device) != torch.float32)
    elif not (folder / "model_index.json").is_file():
        raise ModelUnavailable(f"{source.name} could not be loaded (its folder holds no diffusers model).")

    report(f"reading the weights of {source.name}")
    index = DiffusionPipeline.load_config(folder)
    kind = FAMILIES.get(index["_class_name"])
    dtype = pick_dtype(settings.dtype, device, kind.half if kind else "float16")
    options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True, "local_files_only": True}
    # components that the model was saved without, such as SD3's T5: diffusers wants to be told again
    options |= {name: None for name, kind_of in index.items() if kind_of == [None, None]}
    if "safety_checker" in index:
        options |= {"requires_safety_checker": False} | ({} if settings.safety_checker else {"safety_checker": None})
    if variant:
        options["variant"] = variant
    loader = DiffusionPipeline if kind else AutoPipelineForText2Image
    pipeline = loader.from_pretrained(folder, **options)
    report(f"moving {source.name} to {device}")
    pipeline.to(device)
    family = kind(pipeline, device, dtype) if kind and kind.suits(pipeline) else None
    pipeline.set_progress_bar_config(disable=True)
    vae = getattr(pipeline, "vae", None)
    overflows = kind is None or kind.vae_upcast
    if vae is not None and overflows and dtype == torch.float16 and getattr(vae.config, "force_upcast", False):
        vae.to(torch.float32)  # SDXL's VAE overflows in fp16
    threads = Threads(device)
    revision = _revision(source, folder)
    model = Model(
        name=source.name,
        revision=revision,
        pipeline=pipeline,
        device=device,
        dtype=dtype,
        family=family,
        size=_trained_size(pipeline),
        threads=threads,
        adapters=Adapters(pipeline, LoraCatalogue(settings.loras)),
        safety=SafetyChecker.take(pipeline, threads) if settings.safety_checker else None,
    )
    if settings.safety_checker and not model.safety:
        log.event("no_safety_checker", WARNING, model=source.name)
    if family:
        report(f"warming up {source.name}")
        model.preview_weights = preview.fit(model.decode, family.channels, device)
    if hasattr(pipeline, "unet") and family:
        model.compiled = CompiledUNet.begin(pipeline.unet, folder, revision, settings)
    return model


def pick_device(asked: str) -> torch.device:
    import torch

    if asked != "auto":
        try:
            device = torch.device(asked)
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError):
            raise ModelUnavailable(f"DEVICE was {asked!r}, which this machine does not have.") from None
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def pick_dtype(asked: str, device: torch.device, half: str = "float16") -> torch.dtype:
    """Unless the owner asks otherwise: fp32 on the CPU, and ``half``, or fp16 where it lacks bf16, on an accelerator."""
    import torch

    if asked != "auto":
        return getattr(torch, asked)
    if device.type == "cpu":
        return torch.float32
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return getattr(torch, half)


def _download(source: Source, half: bool) -> tuple[Path, str | None]:
    from diffusers import DiffusionPipeline

    for variant in ("fp16", None) if half else (None,):
        try:
            folder = DiffusionPipeline.download(
                source.repository, revision=source.revision, variant=variant, use_safetensors=True
            )
            return Path(folder), variant
        except ValueError:  # the repository has no such variant
            if variant is None:
                raise
    raise AssertionError("unreachable")


def _revision(source: Source, folder: Path) -> str:
    """The Hub's commit (its cache names the folder so), or a hash of the weights."""
    if source.folder is None:
        return folder.name
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _trained_size(pipeline: Any) -> int:
    factor = getattr(pipeline, "vae_scale_factor", 8)
    network = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    size = getattr(getattr(network, "config", None), "sample_size", None)
    if isinstance(size, (list, tuple)):
        size = size[0]
    size = size * factor if size else getattr(pipeline, "default_sample_size", 128) * factor
    return math.ceil(size / 8) * 8


def _reason(error: Exception) -> str:
    """The kind of error in words, without paths."""
    if out_of_memory(error):
        return "the device has too little memory"
    text = str(error).splitlines()[0] if str(error) else ""
    if "safetensors" in text:
        return "it has no safetensors weights, and pickles are not opened here"
    if any(mark in text for mark in ("/", "\\")) or len(text) > 160 or not text:
        kinds = {
            "OSError": "its files could not be reached; is the network there?",
            "LocalEntryNotFoundError": "it is not downloaded and the network could not be reached",
            "RepositoryNotFoundError": "the Hub has no such repository, or it is private",
            "GatedRepoError": "the Hub asks for its licence to be accepted first",
        }
        return kinds.get(type(error).__name__, type(error).__name__)
    return text
