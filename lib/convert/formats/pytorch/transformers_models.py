"""Architectures of transformers from a config: the class is found in transformers' own Auto registries.

A config is a stranger's text: only known settings of a known ``model_type`` count, nothing is looked up by
path, from a hub, or as code (``auto_map``, kernels as attention implementations, backbones by name).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from lib.errors import InvalidFile, InvalidValue
from lib.model_inputs.signature import Value

MAX_TEXT = 1 << 20  # bytes of a config
MAX_NUMBER = 1 << 24  # of any whole number in a config: vocabulary, widths, samples
MAX_LAYERS = 512
MAX_ITEMS = 4096  # of a list in a config
# settings that could fetch, import or quantize something; the rest of a config is plain numbers and words
DROPPED = (
    *("auto_map", "custom_pipelines", "quantization_config", "compression_config", "dtype", "torch_dtype"),
    *("attn_implementation", "_attn_implementation", "_attn_implementation_internal", "_attn_implementation_autoset"),
    *("experts_implementation", "_experts_implementation", "_experts_implementation_internal", "use_kernels"),
    *("_name_or_path", "name_or_path", "_commit_hash", "transformers_version", "trust_remote_code", "use_cache"),
    *("torchscript", "return_dict", "use_return_dict", "output_attentions", "output_hidden_states", "transformers_weights"),
    *("adapter_path", "peft_config", "kernel_config", "base_model_tp_plan", "base_model_pp_plan", "distributed_config"),
)
BACKBONES = ("backbone", "use_timm_backbone", "use_pretrained_backbone", "backbone_kwargs")
EXAMPLES = {
    "BERT, tiny": {
        "model_type": "bert",
        **{"vocab_size": 1000, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
        **{"intermediate_size": 128, "max_position_embeddings": 64},
    },
    "GPT-2, tiny": {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        **{"vocab_size": 1000, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64},
    },
    "Llama, tiny": {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        **{"vocab_size": 1000, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
        **{"num_key_value_heads": 2, "intermediate_size": 128, "max_position_embeddings": 64},
    },
    "T5, tiny": {
        "model_type": "t5",
        "architectures": ["T5ForConditionalGeneration"],
        **{"vocab_size": 1000, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4},
    },
    "ViT, tiny": {
        "model_type": "vit",
        "architectures": ["ViTForImageClassification"],
        **{"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128},
        **{"image_size": 32, "patch_size": 8},
    },
}


def read(text: str) -> dict[str, Any]:
    """The config in ``text``, without what is in ``DROPPED``. Raises InvalidValue."""
    if len(text) > MAX_TEXT:
        raise InvalidValue("config", f"{len(text)} characters", f"at most {MAX_TEXT}")
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidValue("config", text, "the JSON of a transformers config.json") from None
    if not isinstance(given, dict) or not isinstance(given.get("model_type"), str):
        raise InvalidValue("config", text, 'a JSON object with a "model_type", as transformers writes it') from None
    config = _clean(given)
    for path, number in _numbers(config):
        most = MAX_LAYERS if any(w in path for w in ("layers", "n_layer", "depth", "blocks", "stages")) else MAX_NUMBER
        if abs(number) > most:
            raise InvalidValue(path, number, f"at most {most}")
    return config


def build(config: dict[str, Any], with_inputs: bool = True) -> tuple[Any, tuple[Value, ...], dict[str, Any]]:
    """The model with weights of torch's current seed, its inputs, and keywords of every call."""
    made, kind = _config(config), _class(config)
    try:
        model = kind._from_config(made)
    except InvalidValue:
        raise
    except Exception as error:  # transformers checks a config's numbers by running into them
        raise InvalidValue("config", config["model_type"], f"settings that fit together ({line(error)})") from error
    return model.eval(), inputs_of(model) if with_inputs else (), extra_of(model)


def load(config: dict[str, Any], state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The model with these weights, and what transformers says of the keys (missing, unexpected, mismatched).

    Raises InvalidFile for weights that transformers cannot put into the model at all.
    """
    kind, made = _class(config), _config(config)
    try:
        # weights of another shape are told like the others, for the caller to refuse, and not raised
        how: dict[str, Any] = {"ignore_mismatched_sizes": True, "output_loading_info": True}
        return kind.from_pretrained(None, config=made, state_dict=state, **how)
    except MemoryError:
        raise
    except Exception as error:  # transformers splits and joins weights of older layouts, and runs into odd ones
        raise InvalidFile(f"The weights do not belong to {config['model_type']}: {line(error)}.") from error


def extra_of(model: Any) -> dict[str, Any]:
    taken = inspect.signature(model.forward).parameters
    return {name: value for name, value in (("use_cache", False), ("return_dict", True)) if name in taken}


def inputs_of(model: Any) -> tuple[Value, ...]:
    """What the model takes, from its ``main_input_name``, its forward and its config. Raises InvalidValue."""
    try:
        return _inputs(model)
    except InvalidValue:
        raise
    except Exception as error:  # settings that this model's config has under other names, or of another kind
        known = "a model whose config says its vocabulary or the size of its pictures"
        raise InvalidValue("model_type", model.config.model_type, f"{known} ({line(error)})") from error


def _inputs(model: Any) -> tuple[Value, ...]:
    config, taken = model.config, inspect.signature(model.forward).parameters
    main = model.main_input_name
    text = config.get_text_config()
    inputs: list[Value] = []
    both = "pixel_values" in taken and "input_ids" in taken and hasattr(config, "text_config")
    if main == "input_ids" or both:
        inputs.append(Value("input_ids", "int64", ("batch", "sequence"), "tokens", text.vocab_size))
        if "attention_mask" in taken:
            inputs.append(Value("attention_mask", "int64", ("batch", "sequence"), "mask"))
    if main == "pixel_values" or both:
        inputs.append(_image(getattr(config, "vision_config", config), config))
    if main == "input_values" and hasattr(config, "num_mel_bins"):  # spectrograms
        inputs.append(Value("input_values", "float32", ("batch", config.max_length, config.num_mel_bins)))
    elif main == "input_values":  # a waveform
        inputs.append(Value("input_values", "float32", ("batch", 4000)))
    if main == "input_features" and hasattr(config, "num_mel_bins"):
        frames = 2 * config.max_source_positions
        inputs.append(Value("input_features", "float32", ("batch", config.num_mel_bins, frames)))
    if not inputs:
        raise InvalidValue("model_type", config.model_type, "models of text, pictures, waveforms or spectrograms")
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in taken:
        high = getattr(config.get_text_config(decoder=True), "vocab_size", text.vocab_size)
        inputs.append(Value("decoder_input_ids", "int64", ("batch", "decoder_sequence"), "tokens", high))
    return tuple(inputs)


def sizes_of(model: Any) -> dict[str, tuple[int, ...]]:
    """Lengths that the model is described and proved at: all of them fit its positions."""
    config = model.config
    most = min(
        (v for c in (config, config.get_text_config()) if isinstance(v := getattr(c, "max_position_embeddings", None), int)),
        default=512,
    )
    if most < 18:
        raise InvalidValue("max_position_embeddings", most, "at least 18")
    return {"sequence": (8, 13), "decoder_sequence": (6, 9)}


def _image(vision: Any, config: Any) -> Value:
    size = getattr(vision, "image_size", None) or getattr(config, "image_size", None) or 224
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    channels = getattr(vision, "num_channels", 3)
    return Value("pixel_values", "float32", ("batch", channels, int(height), int(width)), "image")


def _config(config: dict[str, Any]) -> Any:
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    kind = config["model_type"]
    if kind not in CONFIG_MAPPING_NAMES or kind.startswith("timm_"):
        near = get_close_matches(kind, CONFIG_MAPPING_NAMES, 5) or ["bert", "gpt2", "llama", "t5", "vit"]
        raise InvalidValue(
            "model_type", kind, f"{len(CONFIG_MAPPING_NAMES)} types of transformers, such as {', '.join(near)}"
        )
    rest = {k: v for k, v in config.items() if k != "model_type"}
    try:
        made = AutoConfig.for_model(kind, **rest)
    except Exception as error:  # every config class has checks of its own
        raise InvalidValue("config", kind, f"settings that transformers takes ({line(error)})") from error
    made._attn_implementation = "eager"  # plain operators, the same in every exporter
    made._experts_implementation = "batched_mm"  # eager loops over the experts that the data choose
    return made


def _class(config: dict[str, Any]) -> Any:
    """The class in ``architectures`` if a registry has it for this type, else the type's base model."""
    import transformers
    from transformers.models.auto import modeling_auto

    kind = config["model_type"]
    known: list[str] = []
    for registry in (n for n in dir(modeling_auto) if n.startswith("MODEL_") and n.endswith("_MAPPING_NAMES")):
        names = getattr(modeling_auto, registry).get(kind, ())
        known += [names] if isinstance(names, str) else list(names)
    known = list(dict.fromkeys(known))
    wanted = config.get("architectures") or []
    if wanted and (not isinstance(wanted, list) or len(wanted) != 1 or wanted[0] not in known):
        raise InvalidValue("architectures", wanted, f"one of {', '.join(known) or 'none for this model_type'}")
    base = modeling_auto.MODEL_MAPPING_NAMES.get(kind)
    name = wanted[0] if wanted else (base if isinstance(base, str) else (base or known or [None])[0])
    found = getattr(transformers, name, None) if name else None
    if found is None or not hasattr(found, "main_input_name"):
        raise InvalidValue("model_type", kind, "a type with a PyTorch model in transformers")
    return found


def _clean(value: Any, depth: int = 0) -> Any:
    if depth > 8:
        raise InvalidValue("config", "objects inside objects", "at most 8 deep")
    if isinstance(value, dict):
        pretrained = value.get("use_timm_backbone") or value.get("use_pretrained_backbone")
        if isinstance(value.get("backbone"), str) or pretrained:
            raise InvalidValue("backbone", value.get("backbone"), "a backbone_config: one by name would be downloaded")
        kept = {k: v for k, v in value.items() if k not in DROPPED and k not in BACKBONES and isinstance(k, str)}
        return {k: _clean(v, depth + 1) for k, v in kept.items() if not k.startswith("__")}
    if isinstance(value, list):
        if len(value) > MAX_ITEMS:
            raise InvalidValue("config", f"a list of {len(value)}", f"at most {MAX_ITEMS} items")
        return [_clean(v, depth + 1) for v in value]
    return value


def _numbers(value: Any, path: str = "config") -> Iterator[tuple[str, int]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, path)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield path, value


def line(error: Exception) -> str:
    """What a library complained of, its first line, for a visitor to read; its kind where that names a path."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text[:200] if "/" not in text else type(error).__name__
