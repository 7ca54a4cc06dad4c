"""Loads the networks of a diffusers pipeline from disk, each as a function of named arrays.

A *part* is a network as the pipeline calls it: ``text_encoder``, ``text_encoder_2`` (SDXL), ``unet``, ``vae_decoder``.
The folder is untrusted: classes come from the tables below and never from the folder, weights are read from
safetensors only, and settings that make a loader fetch or run something are refused. All networks compute in float32,
whatever the dtype of the stored weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.convert.core import json_text
from lib.convert.core.transformers_config import LOADING, REFUSED
from lib.convert.formats.diffusers.component import Component
from lib.errors import InvalidFile
from lib.model_inputs.signature import Signature, Value
from lib.onnx_model.words import clean

if TYPE_CHECKING:
    import torch

FOLDER = "pipeline"
INDEX = "model_index.json"
PIPELINES = tuple(f"{family}{task}Pipeline" for family in ("StableDiffusion", "StableDiffusionXL")
                  for task in ("", "Img2Img", "Inpaint"))  # fmt: skip
SCHEDULERS = (
    "DDIM", "DDPM", "DEISMultistep", "DPMSolverMultistep", "DPMSolverSDE", "DPMSolverSinglestep", "EulerAncestralDiscrete",
    "EulerDiscrete", "HeunDiscrete", "KDPM2AncestralDiscrete", "KDPM2Discrete", "LCM", "LMSDiscrete", "PNDM",
    "TCD", "UniPCMultistep",
)  # fmt: skip
# component -> library and class of the networks that are converted
NETWORKS: dict[str, tuple[str, str]] = {
    "text_encoder": ("transformers", "CLIPTextModel"),
    "text_encoder_2": ("transformers", "CLIPTextModelWithProjection"),
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
}
COMPANIONS: dict[str, tuple[str, ...]] = {
    "scheduler": tuple(f"{name}Scheduler" for name in SCHEDULERS),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "tokenizer_2": ("CLIPTokenizer", "CLIPTokenizerFast"),
}
# components a pipeline can run without; never loaded or converted
OPTIONAL = ("safety_checker", "feature_extractor", "image_encoder")
CODE_KEYS = (*REFUSED, "custom_pipeline", "adapter_config", *LOADING)
MAX_JSON = 8 << 20  # bytes; a tokenizer of 49,408 tokens takes 3.6 MB
# part -> component, which is also the name of its folder
FOLDERS = {"text_encoder": "text_encoder", "text_encoder_2": "text_encoder_2", "unet": "unet", "vae_decoder": "vae"}


def prefixed(parts: list[Component]) -> Signature:
    """Returns the joint signature of all parts, with names such as ``unet.sample``; equal symbols are shared."""

    def values(some: Callable[[Component], tuple[Value, ...]]) -> tuple[Value, ...]:
        return tuple(Value(f"{p.name}.{v.name}", v.dtype, v.shape, v.role, v.high) for p in parts for v in some(p))

    multiple = max((p.multiple for p in parts), default=1)
    inputs = values(lambda p: p.inputs)
    symbols = {d for v in inputs for d in v.shape}
    # never square, so that swapped height and width are detected
    sizes = {"height": (2 * multiple, 4 * multiple), "width": (3 * multiple, 5 * multiple), "tokens": (16, 77)}
    return Signature(inputs, values(lambda p: p.outputs), {k: s for k, s in sizes.items() if k in symbols})


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Reads a JSON object from a file of the pipeline, which errors call ``what``. Raises InvalidFile."""
    if not path.is_file() or path.is_symlink():
        raise InvalidFile(f"The pipeline has no {what}.")
    if path.stat().st_size > MAX_JSON:
        raise InvalidFile(f"{what} is larger than {MAX_JSON >> 20} MB; a configuration is a few kilobytes.")
    return parse(path.read_text(errors="replace"), what)


def parse(text: str, what: str) -> dict[str, Any]:
    """Parses a JSON object. Raises InvalidFile, also for keys that would load or run other code."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidFile(f"{what} is not JSON.") from None
    if not isinstance(content, dict):
        raise InvalidFile(f"{what} is not a JSON object.")
    try:
        refused = [key for node in json_text.objects(content) for key in CODE_KEYS if node.get(key)]
    except RecursionError:
        raise InvalidFile(f"{what} is nested too deeply.") from None
    if refused:
        raise InvalidFile(f"{what} sets {refused[0]!r}, which would download or run other code; this is not supported here.")
    return content


def check_index(index: dict[str, Any]) -> dict[str, str]:
    """Returns component -> class name, without optional components. Raises InvalidFile for unknown ones."""
    pipeline_class = index.get("_class_name")
    if pipeline_class not in PIPELINES:
        raise InvalidFile(f"The pipeline's class is {str(pipeline_class)[:60]!r}; supported: {', '.join(PIPELINES)}.")
    classes = {}
    for name, entry in index.items():
        if name.startswith("_") or not isinstance(entry, list) or name in OPTIONAL or not any(entry):
            continue
        allowed = (NETWORKS[name][1],) if name in NETWORKS else COMPANIONS.get(name, ())
        if len(entry) != 2 or entry[0] not in ("diffusers", "transformers") or entry[1] not in allowed:
            raise InvalidFile(
                f"The pipeline's {name[:40]!r} is {str(entry)[:80]}; allowed there: {', '.join(allowed) or 'nothing'}."
            )
        classes[name] = entry[1]
    if "XL" not in pipeline_class and "text_encoder_2" in classes:
        raise InvalidFile(
            f"{pipeline_class} has no text_encoder_2; only the components that diffusers saves for it are allowed."
        )
    return classes


def components(pipeline: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Returns component -> class name, and the content of model_index.json.

    Without that file, returns the networks whose folders exist, and {}. Raises InvalidFile.
    """
    if (pipeline / INDEX).exists():
        index = read_json(pipeline / INDEX, INDEX)
        classes = check_index(index)
        if missing := [name for name in classes if name in NETWORKS and not (pipeline / name / "config.json").is_file()]:
            raise InvalidFile(f"{INDEX} lists {missing[0]!r}, but {missing[0]}/config.json is missing; add the folder.")
        if not set(classes) & set(NETWORKS):
            raise InvalidFile(f"{INDEX} lists none of {', '.join(NETWORKS)}; there is nothing to convert.")
        return classes, index
    classes = {name: class_name for name, (_, class_name) in NETWORKS.items() if (pipeline / name / "config.json").is_file()}
    if not classes:
        raise InvalidFile(f"There is no {INDEX} and no network; a diffusers folder has {INDEX} at its top level.")
    return classes, {}


def load_network(pipeline: Path, name: str) -> torch.nn.Module:
    """Loads a network in float32 and eval mode. Raises InvalidFile if weights and configuration do not match."""
    import diffusers
    import torch
    import transformers
    from diffusers.utils import logging

    logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    library, class_name = NETWORKS[name]
    folder = pipeline / name
    config = read_json(folder / "config.json", f"{name}/config.json")
    check_network(name, config)
    if (folder / "adapter_config.json").exists():  # it would redirect the loader to another model
        raise InvalidFile(f"{name} has an adapter_config.json; merge the adapter into the weights and save again.")
    files = {path.name for path in folder.glob("*.safetensors")}
    if not files:
        raise InvalidFile(
            f"{name} has no safetensors weights; pickles are not opened here. Save with safe_serialization=True."
        )
    for path in folder.glob("*.index*.json"):
        shards = read_json(path, f"{name}/{path.name}").get("weight_map")
        if path.name.endswith(".bin.index.json"):
            continue
        if not isinstance(shards, dict):
            raise InvalidFile(f"{name}/{path.name} has no weight_map from tensors to files. Save the pipeline again.")
        if stray := [str(shard) for shard in shards.values() if not isinstance(shard, str) or shard not in files]:
            raise InvalidFile(f"{name}/{path.name} names {stray[0][:60]!r}, which is not in its folder.")
    options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
    if all(".fp16." in file for file in files):
        options["variant"] = "fp16"
    options["torch_dtype" if library == "diffusers" else "dtype"] = torch.float32
    try:
        with torch.random.fork_rng(devices=[]):
            model, info = getattr(
                {"diffusers": diffusers, "transformers": transformers}[library], class_name
            ).from_pretrained(folder, **options)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, IndexError, ZeroDivisionError) as error:
        raise InvalidFile(f"{name} could not be loaded as {class_name} ({clean(str(error))[:200]}).") from None
    mismatches = [*info["missing_keys"], *(k for k in info["unexpected_keys"] if not k.endswith("position_ids"))]
    mismatches += [str(key) for key in info["mismatched_keys"]]
    if mismatches or info.get("error_msgs"):
        raise InvalidFile(
            f"{name}: the weights do not match the configuration: {len(mismatches)} tensors, first "
            f"{str(mismatches[:1])[:120]}."
        )
    return ready_to_run(model)


def ready_to_run(model: torch.nn.Module) -> torch.nn.Module:
    """Switches to eval mode without gradients, and copies weights out of the mapped file.

    Kernels may round differently depending on the alignment of the weights in memory.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
    return model.eval().requires_grad_(False)


def check_network(name: str, config: dict[str, Any]) -> None:
    """Raises InvalidFile for a network of another class, or one that needs more inputs than a part passes."""
    class_name = NETWORKS[name][1]
    if config.get("_class_name", class_name) != class_name:
        raise InvalidFile(f"{name}/config.json is for {str(config['_class_name'])[:60]!r}; allowed: {class_name}.")
    if name != "unet":
        return
    width = config.get("cross_attention_dim", 1)
    if type(width) is not int or width < 1:
        raise InvalidFile(f"The UNet's cross_attention_dim is {str(width)[:60]}; a single positive integer is needed.")
    extra = ("class_embed_type", "num_class_embeds", "encoder_hid_dim_type", "encoder_hid_dim", "time_cond_proj_dim")
    unsupported = [key for key in extra if config.get(key) is not None]
    if unsupported or config.get("addition_embed_type") not in (None, "text_time"):
        key = (unsupported or ["addition_embed_type"])[0]
        raise InvalidFile(
            f"The UNet's {key} is {config.get(key)!r}: it takes more inputs than Stable Diffusion 1, 2 and XL, and the "
            "conversion would lose them."
        )


def load_components(folder: Path) -> list[Component]:
    """Loads every network of the artifact in ``folder``. Raises InvalidFile."""
    pipeline = folder / FOLDER
    classes, index = components(pipeline)
    modules = {name: load_network(pipeline, name) for name in NETWORKS if name in classes}
    return make_components(modules, "XL" in index.get("_class_name", ""))


def make_components(modules: dict[str, torch.nn.Module], xl: bool) -> list[Component]:
    """Wraps loaded networks (by component name) as parts. ``xl``: text encoders return the outputs that SDXL uses."""
    from lib.convert.formats.diffusers import calls as diffusers_calls

    return [diffusers_calls.CALLS[name](name, module, xl) for name, module in modules.items()]
