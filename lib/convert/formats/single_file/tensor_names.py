"""Maps diffusers tensor names to the original names of Stable Diffusion single files (1, 2 and XL).

Original files number blocks in the order of the forward pass (``input_blocks.4.1``), diffusers by level
(``down_blocks.1.attentions.0``); the mapping follows from the configuration. ``plan`` returns one ``TensorMapping``
per tensor for use in both directions: its name on either side and how its layout differs. Works on names only: no
weights, no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lib.errors import InvalidFile

UNET, VAE = "model.diffusion_model.", "first_stage_model."
# layout in the original file: unchanged; a matrix as a 1x1 convolution; transposed; concatenated with two others
SAME, CONV, TURNED, STACKED = "same", "conv", "turned", "stacked"

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
}  # fmt: skip
UNET_BLOCKS = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "mid_block_type": ("UNetMidBlock2DCrossAttn",),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}


@dataclass(frozen=True, slots=True)
class TensorMapping:
    """Maps a tensor (``component`` and ``name`` in the diffusers folder) to ``original`` in the single file.

    ``how`` is its layout there; for STACKED it is the ``part``-th third of ``original`` along axis 0 (query, key,
    value).
    """

    component: str
    name: str
    original: str
    how: str = SAME
    part: int = 0


def plan(component: str, config: dict[str, Any], names: Iterable[str], xl: bool) -> list[TensorMapping]:
    """Returns a mapping for every tensor of ``component``. Raises InvalidFile if the original layout cannot hold it."""
    if component == "unet":
        prefixes = dict(_unet(config))
        return [_renamed(component, name, prefixes, UNET) for name in names]
    if component == "vae":
        prefixes = dict(_vae(config))
        return [_renamed(component, name, prefixes, VAE) for name in names]
    if component == "text_encoder" and config.get("hidden_act") == "quick_gelu":
        home = "conditioner.embedders.0.transformer." if xl else "cond_stage_model.transformer."
        return [TensorMapping(component, name, f"{home}text_model.{name.removeprefix('text_model.')}") for name in names]
    if component == "text_encoder" and xl:
        raise InvalidFile("SDXL's first text encoder is OpenAI's CLIP (quick_gelu); a single file cannot hold this one.")
    home = "conditioner.embedders.1.model." if xl else "cond_stage_model.model."
    if config.get("hidden_act") != "gelu":
        raise InvalidFile(
            f"{component} has the activation {str(config.get('hidden_act'))[:40]!r}; single files support OpenAI's CLIP "
            "(quick_gelu) and OpenCLIP (gelu). Keep this pipeline as a diffusers folder."
        )
    return [_open_clip(component, name, home) for name in names]


def _unet(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields (diffusers prefix, original prefix) for the UNet. Raises InvalidFile for unsupported block types."""
    for key, allowed in UNET_BLOCKS.items():
        block_types = [config.get(key)] if key == "mid_block_type" else config.get(key) or []
        if not block_types or any(block_type not in allowed for block_type in block_types):
            raise InvalidFile(
                f"The UNet's {key} is {str(config.get(key))[:120]}; single files support only {', '.join(allowed)}."
            )
    layers = config.get("layers_per_block")
    if not isinstance(layers, int) or isinstance(layers, bool):
        raise InvalidFile("The UNet's number of layers differs between blocks; single files support one number for all.")
    yield "time_embedding.linear_1", "time_embed.0"
    yield "time_embedding.linear_2", "time_embed.2"
    yield "add_embedding.linear_1", "label_emb.0.0"
    yield "add_embedding.linear_2", "label_emb.0.2"
    yield "conv_in", "input_blocks.0.0"
    yield "conv_norm_out", "out.0"
    yield "conv_out", "out.2"
    block = 1
    for level in range(len(config["down_block_types"])):
        for layer in range(layers):
            yield from _resnet(f"down_blocks.{level}.resnets.{layer}", f"input_blocks.{block}.0")
            yield f"down_blocks.{level}.attentions.{layer}", f"input_blocks.{block}.1"
            block += 1
        yield f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{block}.0.op"
        block += 1
    for number, position in ((0, 0), (1, 2)):
        yield from _resnet(f"mid_block.resnets.{number}", f"middle_block.{position}")
    yield "mid_block.attentions.0", "middle_block.1"
    for level, block_type in enumerate(config["up_block_types"]):
        for layer in range(layers + 1):
            block = level * (layers + 1) + layer
            yield from _resnet(f"up_blocks.{level}.resnets.{layer}", f"output_blocks.{block}.0")
            yield f"up_blocks.{level}.attentions.{layer}", f"output_blocks.{block}.1"
        position = 2 if block_type.startswith("Cross") else 1  # the upsampler follows the attention, if there is one
        yield f"up_blocks.{level}.upsamplers.0.conv", f"output_blocks.{block}.{position}.conv"


def _resnet(ours: str, original: str) -> Iterator[tuple[str, str]]:
    for name, original_name in RESNET.items():
        yield f"{ours}.{name}", f"{original}.{original_name}"


def _vae(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields (diffusers prefix, original prefix) for the VAE. Raises InvalidFile for unsupported block types."""
    for key, expected_type in (("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")):
        if any(block_type != expected_type for block_type in config.get(key) or [""]):
            raise InvalidFile(f"The VAE's {key} is {str(config.get(key))[:120]}; single files support only {expected_type}.")
    levels, layers = len(config["down_block_types"]), config.get("layers_per_block")
    if not isinstance(layers, int) or isinstance(layers, bool):
        raise InvalidFile("The VAE's layers_per_block is not an integer; single files support one number for all blocks.")
    yield "quant_conv", "quant_conv"
    yield "post_quant_conv", "post_quant_conv"
    for side, direction, count, sampler in (
        ("encoder", "down", layers, "downsample"),
        ("decoder", "up", layers + 1, "upsample"),
    ):
        yield f"{side}.conv_in", f"{side}.conv_in"
        yield f"{side}.conv_norm_out", f"{side}.norm_out"
        yield f"{side}.conv_out", f"{side}.conv_out"
        for level in range(levels):
            # the original numbers levels from the finest
            original_level = level if direction == "down" else levels - 1 - level
            for layer in range(count):
                diffusers_prefix, original = (
                    f"{side}.{direction}_blocks.{level}.resnets.{layer}",
                    f"{side}.{direction}.{original_level}.block.{layer}",
                )
                yield from _vae_resnet(diffusers_prefix, original)
            yield (
                f"{side}.{direction}_blocks.{level}.{sampler}rs.0.conv",
                f"{side}.{direction}.{original_level}.{sampler}.conv",
            )
        for number in (0, 1):
            yield from _vae_resnet(f"{side}.mid_block.resnets.{number}", f"{side}.mid.block_{number + 1}")
        for name, original in VAE_ATTENTION.items():
            yield f"{side}.mid_block.attentions.0.{name}", f"{side}.mid.attn_1.{original}"


def _vae_resnet(ours: str, original: str) -> Iterator[tuple[str, str]]:
    for name in ("norm1", "conv1", "norm2", "conv2"):
        yield f"{ours}.{name}", f"{original}.{name}"
    yield f"{ours}.conv_shortcut", f"{original}.nin_shortcut"


def _renamed(component: str, name: str, prefixes: dict[str, str], home: str) -> TensorMapping:
    """Maps a tensor by its longest known prefix. Raises InvalidFile if it has none."""
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        prefix = prefixes.get(".".join(parts[:end]))
        if prefix is not None:
            is_matrix = (
                component == "vae" and ".attn_1." in prefix and not prefix.endswith(".norm") and parts[-1] == "weight"
            )
            return TensorMapping(component, name, ".".join((home + prefix, *parts[end:])), CONV if is_matrix else SAME)
    raise InvalidFile(f"{component} has a tensor {name[:80]!r}, which a Stable Diffusion single file cannot hold.")


def _open_clip(component: str, name: str, home: str) -> TensorMapping:
    """Maps a tensor of an OpenCLIP text encoder. Raises InvalidFile for an unknown tensor."""
    fixed_names = {
        "embeddings.position_embedding.weight": "positional_embedding",
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "final_layer_norm.weight": "ln_final.weight",
        "final_layer_norm.bias": "ln_final.bias",
    }
    bare = name.removeprefix("text_model.")
    if bare in fixed_names:
        return TensorMapping(component, name, home + fixed_names[bare])
    if bare == "text_projection.weight":
        return TensorMapping(component, name, f"{home}text_projection", TURNED)
    parts = bare.split(".")
    if parts[:2] == ["encoder", "layers"] and len(parts) > 4:
        block, inner, kind = f"{home}transformer.resblocks.{parts[2]}.", ".".join(parts[3:-1]), parts[-1]
        if inner in OPEN_CLIP:
            return TensorMapping(component, name, f"{block}{OPEN_CLIP[inner]}.{kind}")
        for part, letter in enumerate("qkv"):
            if inner == f"self_attn.{letter}_proj":
                return TensorMapping(component, name, f"{block}attn.in_proj_{kind}", STACKED, part)
    raise InvalidFile(f"{component} has a tensor {name[:80]!r}, which OpenCLIP does not have.")
