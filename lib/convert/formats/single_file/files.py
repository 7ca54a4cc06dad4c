"""Packs and unpacks Stable Diffusion single files: all networks in one safetensors file, under the original LDM names.

Files written here carry the pipeline's configurations and tokenizer in the safetensors metadata, so the round trip is
exact. Other files have no such metadata and are accepted only if every shape matches Stable Diffusion 1.x.
``tensor_names.py`` maps the tensor names; no network runs here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.convert.formats.diffusers.components import (
    INDEX,
    NETWORKS,
    OPTIONAL,
    check_index,
    check_network,
    components,
    load_network,
    parse,
)
from lib.convert.formats.single_file import sd1_configs
from lib.convert.formats.single_file import tensor_names as ldm_names
from lib.convert.formats.single_file.tensor_names import CONV, STACKED, TURNED, UNET, TensorMapping
from lib.errors import InvalidFile, InvalidValue

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

KEY = "workbench.pipeline"
STORED, DTYPES = "as stored", ("as stored", "float32", "float16")
TOKENIZER_FILES = (
    "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
SMALL_FILES = {
    **dict.fromkeys(NETWORKS, ("config.json",)),
    "scheduler": ("scheduler_config.json",),
    "tokenizer": TOKENIZER_FILES,
    "tokenizer_2": TOKENIZER_FILES,
}
WEIGHTS = {"diffusers": "diffusion_pytorch_model.safetensors", "transformers": "model.safetensors"}
MAX_TEXT = 32 << 20  # 32 MiB of configurations and tokenizers in the metadata
WAY_OUT = (
    "Load it with diffusers' from_single_file (needs network access), save it with save_pretrained, and upload that "
    "folder as a zip."
)


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a single file besides weights.

    ``index`` is model_index.json; ``files`` maps paths in the pipeline to texts; ``notes`` are messages for the user.
    """

    index: dict[str, Any]
    files: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def xl(self) -> bool:
        return "XL" in self.index["_class_name"]

    def networks(self) -> list[str]:
        """Returns the names of the networks, in the order of ``NETWORKS``. Raises InvalidFile."""
        classes = check_index(self.index)
        return [name for name in NETWORKS if name in classes]

    def config(self, name: str) -> dict[str, Any]:
        """Returns the checked config.json of a network. Raises InvalidFile."""
        config = parse(self.files.get(f"{name}/config.json", ""), f"{name}/config.json")
        check_network(name, config)
        return config

    def write(self, pipeline: Path) -> None:
        """Writes model_index.json and the small files, but no weights."""
        pipeline.mkdir(parents=True, exist_ok=True)
        (pipeline / INDEX).write_text(json.dumps(self.index, indent=2) + "\n")
        for name, text in self.files.items():
            (pipeline / name).parent.mkdir(exist_ok=True)
            (pipeline / name).write_text(text)


def pack(pipeline: Path, dtype: str) -> tuple[Tensors, dict[str, str], list[str], bool]:
    """Returns tensors under their original names, the metadata, messages, and whether the cast changed a value.

    Raises InvalidFile if the original layout cannot hold the pipeline, InvalidValue if a weight overflows float16.
    """
    classes, index = components(pipeline)
    xl = "XL" in index.get("_class_name", "")
    required = [name for name in NETWORKS if xl or name != "text_encoder_2"]
    if missing := [name for name in required if name not in classes or not index]:
        raise InvalidFile(
            f"A single file holds a whole pipeline; {missing[0]!r} is missing. Upload the whole pipeline folder."
        )
    tensors: Tensors = {}
    files, lossy = dict(_small_files(pipeline, classes)), False
    for name in required:
        config = parse(files[f"{name}/config.json"], f"{name}/config.json")
        state = {k: v for k, v in load_network(pipeline, name).state_dict().items() if not k.endswith("position_ids")}
        target = stored_dtype(pipeline / name) if dtype == STORED else dtype
        state, changed = _cast(name, state, target)
        lossy |= changed
        tensors |= _pack_tensors(ldm_names.plan(name, config, state, xl), state)
        for key in {"dtype", "torch_dtype"} & set(config):
            files[f"{name}/config.json"] = json.dumps(config | {key: target}, indent=2) + "\n"
    messages = []
    if dropped := [name for name in OPTIONAL if any(index.get(name) or ())]:
        messages.append(f"Left out, because a single file cannot hold it: {', '.join(dropped)}.")
    index = index | {name: [None, None] for name in dropped}
    payload = json.dumps({"index": index, "files": files})
    if len(payload) > MAX_TEXT:
        raise InvalidFile(f"The tokenizer and configurations take {len(payload) >> 20} MB; allowed: {MAX_TEXT >> 20} MB.")
    return tensors, {"format": "pt", KEY: payload}, messages, lossy


def stored_dtype(folder: Path) -> str:
    """Returns the dtype of a network's weights; float32 if they are mixed or not 16-bit floats."""
    from safetensors import safe_open

    dtypes = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if not name.endswith("position_ids")]  # noqa: SIM118, no mapping
            dtypes |= {file.get_slice(name).get_dtype() for name in names}
    return {"F16": "float16", "BF16": "bfloat16"}.get(dtypes.pop(), "float32") if len(dtypes) == 1 else "float32"


def _small_files(pipeline: Path, found: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name in found:
        for file in SMALL_FILES[name]:
            path = pipeline / name / file
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_TEXT:
                yield f"{name}/{file}", path.read_text()


def _cast(name: str, state: Tensors, dtype: str) -> tuple[Tensors, bool]:
    """Casts float32 tensors to ``dtype``; returns them and whether a value changed. Raises InvalidValue on overflow."""
    import torch

    cast = {key: tensor.to(getattr(torch, dtype)) for key, tensor in state.items()}
    if dtype == "float16" and any(not bool(torch.isfinite(t).all()) for t in cast.values()):
        raise InvalidValue("dtype", dtype, f"float32; {name} has weights beyond float16's range")
    return cast, any(not torch.equal(cast[key].float(), tensor) for key, tensor in state.items())


def _pack_tensors(mappings: list[TensorMapping], state: Tensors) -> Tensors:
    """Returns the tensors in the original layout, by original name."""
    import torch

    packed: Tensors = {}
    stacks: dict[str, dict[int, torch.Tensor]] = {}
    for mapping in mappings:
        tensor = state[mapping.name]
        if mapping.how == STACKED:
            stacks.setdefault(mapping.original, {})[mapping.part] = tensor
        elif mapping.how == CONV:
            packed[mapping.original] = tensor[:, :, None, None].contiguous()
        else:
            packed[mapping.original] = (tensor.T if mapping.how == TURNED else tensor).contiguous().clone()
    return packed | {name: torch.cat([parts[k] for k in range(3)]) for name, parts in stacks.items()}


def describe(metadata: dict[str, str], shapes: dict[str, tuple[int, ...]]) -> Contents:
    """Returns the contents of a file with this metadata and these tensor shapes. Raises InvalidFile."""
    if KEY not in metadata:
        return _stable_diffusion_1(shapes)
    if len(metadata[KEY]) > MAX_TEXT:
        raise InvalidFile("The file's description of its pipeline is too long.")
    description = parse(metadata[KEY], "The file's description of its pipeline")
    index, files = description.get("index"), description.get("files")
    if not isinstance(index, dict) or not isinstance(files, dict):
        raise InvalidFile("The file's description of its pipeline lacks its index or files.")
    allowed = {f"{name}/{file}" for name, file_names in SMALL_FILES.items() for file in file_names}
    if unexpected := [name for name, text in files.items() if name not in allowed or not isinstance(text, str)]:
        raise InvalidFile(
            f"The file's description of its pipeline holds {unexpected[0][:60]!r}, which does not belong there."
        )
    contents = Contents(index, files)
    names = contents.networks()
    if missing := [n for n in ("text_encoder", *("text_encoder_2",) * contents.xl, "unet", "vae") if n not in names]:
        raise InvalidFile(f"The file's description of its pipeline lacks {missing[0]}.")
    for name in files:
        if name.endswith(".json"):
            parse(files[name], name)
    return contents


def _stable_diffusion_1(shapes: dict[str, tuple[int, ...]]) -> Contents:
    """Returns the contents of a file without metadata. Raises InvalidFile unless its shapes are Stable Diffusion 1.x."""
    first = shapes.get(f"{UNET}input_blocks.0.0.weight", ())
    if not first:
        raise InvalidFile(
            "This is not a Stable Diffusion single file: it has no tensor model.diffusion_model.input_blocks.0.0.weight."
        )
    channels = first[1] if len(first) == 4 and first[1] in (4, 9) else 4
    configs = {"text_encoder": sd1_configs.TEXT_ENCODER, "unet": sd1_configs.unet(channels), "vae": sd1_configs.VAE}
    wrong = []
    for name, config in configs.items():
        blank = blank_shapes(name, config)
        for mapping in ldm_names.plan(name, config, blank, False):
            shape = shapes.get(mapping.original)
            if shape != blank[mapping.name] and not (mapping.how == CONV and shape == (*blank[mapping.name], 1, 1)):
                wrong.append(mapping.original)
    if wrong:
        raise InvalidFile(
            f"The single file has no configuration, and by its shapes it is not Stable Diffusion 1.x ({len(wrong)} "
            f"tensors missing or of another shape, first {wrong[0][:100]!r}). {WAY_OUT}"
        )
    files = {f"{name}/config.json": json.dumps(config, indent=2) + "\n" for name, config in configs.items()}
    files["scheduler/scheduler_config.json"] = json.dumps(sd1_configs.SCHEDULER, indent=2) + "\n"
    note = (
        "The file has no configuration; by its shapes it is Stable Diffusion 1.x, read with noise prediction (epsilon). "
        "It has no tokenizer: put that of openai/clip-vit-large-patch14 into tokenizer/."
    )
    return Contents(sd1_configs.index(channels), files, (note,))


def blank_shapes(name: str, config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a network's tensors by name, from its configuration alone. Raises InvalidFile."""
    import diffusers
    import transformers
    from accelerate import init_empty_weights

    library, class_name = NETWORKS[name]
    try:
        with init_empty_weights():
            if library == "transformers":
                model = getattr(transformers, class_name)(transformers.CLIPTextConfig.from_dict(config))
            else:
                model = getattr(diffusers, class_name).from_config(config)
    except Exception as error:  # an invalid configuration can raise anything
        raise InvalidFile(f"{name}/config.json does not build a {class_name} ({type(error).__name__}).") from None
    return {key: tuple(t.shape) for key, t in model.state_dict().items() if not key.endswith("position_ids")}


def unpack(tensors: Tensors, contents: Contents, pipeline: Path) -> list[str]:
    """Writes the diffusers folder and returns messages. Raises InvalidFile if a tensor is missing or misshapen."""
    from safetensors.torch import save_file

    contents.write(pipeline)
    used = set()
    for name in contents.networks():
        config = contents.config(name)
        blank = blank_shapes(name, config)
        mappings = ldm_names.plan(name, config, blank, contents.xl)
        if missing := [m.original for m in mappings if m.original not in tensors]:
            raise InvalidFile(f"{len(missing)} tensors of the {name} are missing, first {missing[0][:100]!r}.")
        used |= {m.original for m in mappings}
        # older releases of transformers require this prefix on the text encoder's tensors, newer ones accept both
        prefix = "text_model." if name == "text_encoder" else ""
        state = {
            prefix + m.name.removeprefix(prefix): _unpack_tensors(m, tensors[m.original], blank[m.name]) for m in mappings
        }
        (pipeline / name).mkdir(exist_ok=True)
        save_file(state, pipeline / name / WEIGHTS[NETWORKS[name][0]], metadata={"format": "pt"})
    messages = list(contents.notes)
    if unused := sorted(set(tensors) - used):
        averaged = " (among them averaged weights, model_ema)" if any(n.startswith("model_ema.") for n in unused) else ""
        messages.append(f"{len(unused)} tensors belong to no network and were left out{averaged}, first {unused[0][:80]}.")
    return messages


def _unpack_tensors(move: TensorMapping, tensor: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Returns a tensor in diffusers' layout. Raises InvalidFile if it does not have the expected ``shape``."""
    if move.how == STACKED and tensor.ndim and tensor.shape[0] % 3 == 0:
        tensor = tensor.chunk(3)[move.part]
    elif move.how == TURNED and tensor.ndim == 2:
        tensor = tensor.T
    elif move.how == CONV and tensor.ndim == 4 and tuple(tensor.shape[2:]) == (1, 1):
        tensor = tensor[:, :, 0, 0]
    if tuple(tensor.shape) != shape:
        raise InvalidFile(
            f"{move.original[:100]!r} has the shape {list(tensor.shape)}; the configuration requires {list(shape)}."
        )
    return tensor.contiguous().clone()
