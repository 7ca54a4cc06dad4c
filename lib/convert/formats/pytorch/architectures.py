"""PyTorch sources by name: ``torchvision:resnet18``, ``transformers:{"model_type": …}``, ``hub:owner/name``.

``prepare`` writes an artifact: ``architecture.json`` (name, settings, signature, tied weights) and
``weights.safetensors``. ``load`` builds the model of an artifact. A name is never used as a path, only torchvision's
and transformers' own code runs, and weights are read from safetensors or tensor-only pickles.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lib.convert.formats.pytorch import torchvision_models as torchvision
from lib.convert.formats.pytorch import transformers_models as transformers
from lib.errors import InvalidValue, WorkbenchError, out_of_memory
from lib.model_inputs.signature import Signature, Value

DESCRIPTION, WEIGHTS = "architecture.json", "weights.safetensors"
MAX_PARAMETERS = 700_000_000  # 2.8 GB in float32; fits torchvision's largest, vit_h_14 and regnet_y_128gf
KINDS = ("torchvision", "transformers", "hub")
PLAIN = re.compile(r"[A-Za-z0-9_]{1,60}")
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def names() -> dict[str, list[str]]:
    """Returns source names by task; a transformers example contains its whole config."""
    examples = [f"transformers:{json.dumps(config)}" for config in transformers.EXAMPLES.values()]
    return {task: [f"torchvision:{n}" for n in model_names] for task, model_names in torchvision.NAMES.items()} | {
        "transformers": examples
    }


def prepare(
    source: str, weights: Path | None, config: Path | None, folder: Path, *, seed: int = 0, allow_hub: bool = False
) -> list[str]:
    """Writes the artifact of ``source`` into ``folder`` and returns messages for the user.

    ``config`` is a transformers config.json, or for torchvision a JSON object with ``image_size`` and
    ``num_classes``. Raises InvalidValue for bad names and settings, InvalidFile for weights that do not fit.
    """
    kind, rest = parse(source, config)
    text = config.read_text(encoding="utf-8", errors="replace") if config is not None else ""
    if kind == "hub":
        from lib.convert.formats.pytorch import hub_models as hub

        with hub.downloaded(rest, allow_hub) as download:
            return from_folder(download, folder, f"hub:{rest}")
    state, messages = None, []
    if weights is not None:
        from lib.convert.formats.pytorch import weights as files

        state, messages = files.read(weights)
    if kind == "torchvision":
        settings = torchvision.check_settings(_object(text)) if text else {}
        if state is not None:
            settings = torchvision.settings_of(rest, {k: tuple(v.shape) for k, v in state.items()}) | settings
        description = {"kind": kind, "name": rest, "config": settings}
    else:
        settings = transformers.read(rest or text)
        description = {"kind": kind, "name": settings["model_type"], "config": settings}
    return messages + _write(description, state, folder, seed)


def from_folder(found: Path, folder: Path, name: str) -> list[str]:
    """Writes the artifact of a Hub-style folder, reading only config.json and safetensors; returns messages."""
    from lib.convert.formats.pytorch import hub_models as hub

    config = transformers.read((found / "config.json").read_text(encoding="utf-8", errors="replace"))
    description = {"kind": "transformers", "name": config["model_type"], "config": config}
    return [f"{name}: only config.json and safetensors were read.", *_write(description, hub.state(found), folder, 0)]


def load(folder: Path) -> tuple[Any, Signature]:
    """Returns the artifact's model, wrapped by ``flat.flat`` in eval mode, and its signature."""
    from lib.convert.formats.pytorch import weights as files
    from lib.convert.formats.pytorch.flat import flat

    description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    signature = Signature.from_dict(description["signature"])
    model, inputs, call = _build(description)
    files.restore(model, folder / WEIGHTS, description["tied"])
    outputs = [v.name for v in signature.outputs]
    return flat(model, [v.name for v in inputs], **call, outputs=outputs), signature


def parse(source: str, config: Path | None = None) -> tuple[str, str]:
    """Splits a source name into its kind and the rest. Raises InvalidValue, before anything is imported."""
    kind, colon, rest = source.strip().partition(":")
    if not colon or kind not in KINDS:
        raise InvalidValue("source", source, ", ".join(f"{k}:…" for k in KINDS))
    if kind == "torchvision":
        all_names = [name for model_names in torchvision.NAMES.values() for name in model_names]
        if rest not in all_names:
            suggestions = get_close_matches(rest, all_names, 5) if PLAIN.fullmatch(rest) else []
            suggestions = suggestions or ["mobilenet_v3_small", "resnet18", "fcn_resnet50", "fasterrcnn_resnet50_fpn"]
            raise InvalidValue("torchvision model", rest, f"one of {len(all_names)} names, such as {', '.join(suggestions)}")
    elif kind == "hub":
        if not REPOSITORY.fullmatch(rest) or ".." in rest or "--" in rest:
            raise InvalidValue("hub model", rest, "owner/name, as on the Hub")
    elif rest and not rest.lstrip().startswith("{"):
        raise InvalidValue("transformers model", rest, "the JSON text of a config.json, or an uploaded config.json")
    elif not rest and config is None:
        raise InvalidValue("transformers model", "nothing", "the JSON text of a config.json, or an uploaded config.json")
    return kind, rest


def _write(description: dict[str, Any], state: dict[str, Any] | None, folder: Path, seed: int) -> list[str]:
    """Builds the model with the weights ``state`` (random if None), describes it and writes the artifact."""
    import torch

    from lib.convert.formats.pytorch import calibrate, describe
    from lib.convert.formats.pytorch import weights as files
    from lib.convert.formats.pytorch.flat import flat

    name = f"{description['kind']}:{description['name']}"
    if description["kind"] == "transformers":
        with torch.device("meta"):  # count parameters before anything is allocated
            _most(_build(description, with_inputs=False)[0])
    torch.manual_seed(seed)
    if state is not None and description["kind"] == "transformers":
        model, loading_info = transformers.load(description["config"], state)
        shapes = [f"{key} is {list(has)}, not {list(wants)}" for key, has, wants in sorted(loading_info["mismatched_keys"])]
        files.refuse(name, sorted(loading_info["missing_keys"]), sorted(loading_info["unexpected_keys"]), shapes)
        model = model.float().eval()
        inputs, call = transformers.inputs_of(model), {"style": "keywords", "extra": transformers.extra_of(model)}
    else:
        model, inputs, call = _build(description)
        if state is not None:
            files.load(model, state, name)
    count = _most(model.requires_grad_(False))
    flattened = flat(model, [v.name for v in inputs], **call)
    sizes = transformers.sizes_of(model) if description["kind"] == "transformers" else {}
    signature = Signature(inputs, (), {s: n for s, n in sizes.items() if any(s in v.shape for v in inputs)})
    with _runs(name, bool(description["config"])):
        signature = describe.fix_batch(flattened, signature)
        weights_note = (
            "the given weights" if state is not None else calibrate.randomize_and_calibrate(flattened, signature, seed)
        )
        signature = replace(signature, outputs=describe.outputs(flattened, signature))
    tied = files.save(model, folder / WEIGHTS)
    record = description | {"signature": signature.as_dict(), "tied": tied, "parameters": count}
    record["weights"] = "random" if state is None else "given"
    (folder / DESCRIPTION).write_text(json.dumps(record, indent=1), encoding="utf-8")
    return [f"{name}: {count / 1e6:.3g} million parameters, {weights_note}."]


@contextmanager
def _runs(name: str, settings: bool) -> Iterator[None]:
    """Turns errors of the first run into InvalidValue, if the model was built with user ``settings``.

    Settings that pass at construction may still not fit together.
    """
    try:
        yield
    except (WorkbenchError, MemoryError):
        raise
    except Exception as error:  # the model's own code may raise anything
        if not settings:
            raise
        if out_of_memory(error):
            raise MemoryError from error
        allowed = f"settings that the model can run with ({transformers.line(error)})"
        raise InvalidValue("config", name, allowed) from error


def _build(description: dict[str, Any], with_inputs: bool = True) -> tuple[Any, tuple[Value, ...], dict[str, Any]]:
    """Returns the model, its inputs, and keyword arguments for ``flat``."""
    if description["kind"] == "torchvision":
        model, inputs, style = torchvision.build(description["name"], description["config"])
        return model, inputs, {"style": style, "extra": {}}
    model, inputs, extra = transformers.build(description["config"], with_inputs)
    return model, inputs, {"style": "keywords", "extra": extra}


def _most(model: Any) -> int:
    """Returns the number of parameters. Raises InvalidValue above ``MAX_PARAMETERS``."""
    count = sum(p.numel() for p in model.parameters())
    if count > MAX_PARAMETERS:
        raise InvalidValue("parameters", f"{count / 1e6:.0f} million", f"at most {MAX_PARAMETERS // 10**6} million")
    return count


def _object(text: str) -> dict[str, Any]:
    """Parses a JSON object. Raises InvalidValue."""
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise InvalidValue("config", text, "a JSON object")
    return settings
