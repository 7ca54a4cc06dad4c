"""Load a model from a folder or the Hub onto the device. Torch and diffusers are imported on use.

Weights are read as safetensors; a pickle is never opened.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from logging import WARNING
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import log
from lib.errors import ModelUnavailable, out_of_memory
from lib.settings import Settings
from lib.text_to_image.compiled import CompiledUNet
from lib.text_to_image.loras.adapters import Adapters
from lib.text_to_image.loras.catalogue import LoraCatalogue
from lib.text_to_image.models import Model, Source
from lib.text_to_image.safety import SafetyChecker
from lib.text_to_image.threads import Threads

if TYPE_CHECKING:
    import torch

Report = Callable[[str], None]


def load(source: Source, settings: Settings, report: Report = lambda stage: None) -> Model:
    """Read the weights and move them to the device. Raises ModelUnavailable with the reason."""
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
    # components that were saved as None, such as SD3's T5, must be passed to diffusers as None
    options |= {name: None for name, kind_of in index.items() if kind_of == [None, None]}
    if "safety_checker" in index:
        options |= {"requires_safety_checker": False} | ({} if settings.safety_checker else {"safety_checker": None})
    if variant:
        options["variant"] = variant
    loader = DiffusionPipeline if kind else AutoPipelineForText2Image
    pipeline = loader.from_pretrained(folder, **options)
    report(f"moving {source.name} to {device}")
    pipeline.to(device)
    family = kind(pipeline, device, dtype) if kind and kind.supports(pipeline) else None
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
        safety=SafetyChecker.take_from(pipeline, threads) if settings.safety_checker else None,
    )
    if settings.safety_checker and not model.safety:
        log.event("no_safety_checker", WARNING, model=source.name)
    if family:
        report(f"warming up {source.name}")
        model.preview_weights = preview.fit(model.decode, family.channels, device)
    if hasattr(pipeline, "unet") and family:
        model.compiled = CompiledUNet.start(pipeline.unet, folder, revision, settings)
    return model


def pick_device(asked: str) -> torch.device:
    """Return the device for DEVICE, where "auto" prefers CUDA, then MPS. Raises ModelUnavailable."""
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
    """Return DTYPE if set; else float32 on a CPU, and ``half`` on an accelerator, or float16 if it lacks bfloat16."""
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
    """Return the Hub's commit, which is the folder's name in its cache, or a hash of the weights."""
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
    """Describe the reason of an error, without paths."""
    if out_of_memory(error):
        return "the device has too little memory"
    text = str(error).splitlines()[0] if str(error) else ""
    if "safetensors" in text:
        return "it has no safetensors weights, and pickles are not opened here"
    if any(mark in text for mark in ("/", "\\")) or len(text) > 160 or not text:
        kinds = {
            "OSError": "its files could not be reached; is the network down?",
            "LocalEntryNotFoundError": "it is not downloaded and the network could not be reached",
            "RepositoryNotFoundError": "the Hub has no such repository, or it is private",
            "GatedRepoError": "the Hub asks for its licence to be accepted first",
        }
        return kinds.get(type(error).__name__, type(error).__name__)
    return text
