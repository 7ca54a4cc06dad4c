"""Builds transformers models from a config; the class comes from transformers' own Auto registries.

A config is untrusted: the ``model_type`` must be known, and settings that would load a path, a Hub model or code
(``auto_map``, kernels as attention implementations, backbones by name) are dropped or refused.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from lib.errors import InvalidFile, InvalidValue
from lib.model_inputs.signature import Value

MAX_TEXT = 1 << 20  # characters of a config
MAX_NUMBER = 1 << 24  # largest integer in a config: vocabulary, widths, samples
MAX_LAYERS = 512
MAX_ITEMS = 4096  # longest list in a config
# settings that could fetch, import or quantize something, and settings of outputs that are fixed here
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
    """Parses and validates a config, dropping the keys in ``DROPPED``. Raises InvalidValue."""
    if len(text) > MAX_TEXT:
        raise InvalidValue("config", f"{len(text)} characters", f"at most {MAX_TEXT}")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidValue("config", text, "the JSON of a transformers config.json") from None
    if not isinstance(content, dict) or not isinstance(content.get("model_type"), str):
        raise InvalidValue("config", text, 'a JSON object with a "model_type", as transformers writes it') from None
    config = _clean(content)
    for path, number in _numbers(config):
        limit = MAX_LAYERS if any(w in path for w in ("layers", "n_layer", "depth", "blocks", "stages")) else MAX_NUMBER
        if abs(number) > limit:
            raise InvalidValue(path, number, f"at most {limit}")
    return config


def build(config: dict[str, Any], with_inputs: bool = True) -> tuple[Any, tuple[Value, ...], dict[str, Any]]:
    """Returns the model with random weights from torch's current seed, its inputs, and keywords for every call.

    Raises InvalidValue for a config that transformers cannot build.
    """
    settings, model_class = _config(config), _class(config)
    try:
        model = model_class._from_config(settings)
    except InvalidValue:
        raise
    except Exception as error:  # transformers raises many kinds of errors for an inconsistent config
        raise InvalidValue("config", config["model_type"], f"consistent settings ({line(error)})") from error
    return model.eval(), inputs_of(model) if with_inputs else (), extra_of(model)


def load(config: dict[str, Any], state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Returns the model with these weights, and transformers' loading info (missing, unexpected, mismatched keys).

    Raises InvalidFile if transformers cannot load the weights at all.
    """
    model_class, settings = _class(config), _config(config)
    try:
        # report shape mismatches in the loading info, for the caller to refuse, instead of raising
        options: dict[str, Any] = {"ignore_mismatched_sizes": True, "output_loading_info": True}
        return model_class.from_pretrained(None, config=settings, state_dict=state, **options)
    except MemoryError:
        raise
    except Exception as error:  # transformers converts older weight layouts, which can fail in many ways
        raise InvalidFile(f"The weights do not match {config['model_type']}: {line(error)}.") from error


def extra_of(model: Any) -> dict[str, Any]:
    """Returns keywords for every call: no cache, and a ModelOutput as the result, where the model takes them."""
    parameters = inspect.signature(model.forward).parameters
    return {name: value for name, value in (("use_cache", False), ("return_dict", True)) if name in parameters}


def inputs_of(model: Any) -> tuple[Value, ...]:
    """Derives the inputs from the model's ``main_input_name``, ``forward`` and config. Raises InvalidValue."""
    try:
        return _inputs(model)
    except InvalidValue:
        raise
    except Exception as error:  # this config has the needed settings under other names, or with other types
        expected = "a model whose config gives its vocabulary or image size"
        raise InvalidValue("model_type", model.config.model_type, f"{expected} ({line(error)})") from error


def _inputs(model: Any) -> tuple[Value, ...]:
    config, parameters = model.config, inspect.signature(model.forward).parameters
    main = model.main_input_name
    text = config.get_text_config()
    inputs: list[Value] = []
    multimodal = "pixel_values" in parameters and "input_ids" in parameters and hasattr(config, "text_config")
    if main == "input_ids" or multimodal:
        inputs.append(Value("input_ids", "int64", ("batch", "sequence"), "tokens", text.vocab_size))
        if "attention_mask" in parameters:
            inputs.append(Value("attention_mask", "int64", ("batch", "sequence"), "mask"))
    if main == "pixel_values" or multimodal:
        inputs.append(_image(getattr(config, "vision_config", config), config))
    if main == "input_values" and hasattr(config, "num_mel_bins"):  # spectrograms
        inputs.append(Value("input_values", "float32", ("batch", config.max_length, config.num_mel_bins)))
    elif main == "input_values":  # a waveform
        inputs.append(Value("input_values", "float32", ("batch", 4000)))
    if main == "input_features" and hasattr(config, "num_mel_bins"):
        frames = 2 * config.max_source_positions
        inputs.append(Value("input_features", "float32", ("batch", config.num_mel_bins, frames)))
    if not inputs:
        raise InvalidValue("model_type", config.model_type, "models of text, images, waveforms or spectrograms")
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in parameters:
        high = getattr(config.get_text_config(decoder=True), "vocab_size", text.vocab_size)
        inputs.append(Value("decoder_input_ids", "int64", ("batch", "decoder_sequence"), "tokens", high))
    return tuple(inputs)


def sizes_of(model: Any) -> dict[str, tuple[int, ...]]:
    """Returns the sequence lengths for describing and proving the model.

    Raises InvalidValue if ``max_position_embeddings`` is below 18, the least that all of them fit.
    """
    config = model.config
    positions = min(
        (v for c in (config, config.get_text_config()) if isinstance(v := getattr(c, "max_position_embeddings", None), int)),
        default=512,
    )
    if positions < 18:
        raise InvalidValue("max_position_embeddings", positions, "at least 18")
    return {"sequence": (8, 13), "decoder_sequence": (6, 9)}


def _image(vision: Any, config: Any) -> Value:
    size = getattr(vision, "image_size", None) or getattr(config, "image_size", None) or 224
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    channels = getattr(vision, "num_channels", 3)
    return Value("pixel_values", "float32", ("batch", channels, int(height), int(width)), "image")


def _config(config: dict[str, Any]) -> Any:
    """Returns transformers' config object. Raises InvalidValue for an unknown type or bad settings."""
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    model_type = config["model_type"]
    if model_type not in CONFIG_MAPPING_NAMES or model_type.startswith("timm_"):
        suggestions = get_close_matches(model_type, CONFIG_MAPPING_NAMES, 5) or ["bert", "gpt2", "llama", "t5", "vit"]
        raise InvalidValue(
            "model_type",
            model_type,
            f"one of {len(CONFIG_MAPPING_NAMES)} transformers types, such as {', '.join(suggestions)}",
        )
    settings = {k: v for k, v in config.items() if k != "model_type"}
    try:
        built = AutoConfig.for_model(model_type, **settings)
    except Exception as error:  # every config class has its own checks
        raise InvalidValue("config", model_type, f"settings that transformers accepts ({line(error)})") from error
    built._attn_implementation = "eager"  # plain operators that every exporter supports
    built._experts_implementation = "batched_mm"  # eager has a data-dependent loop over experts
    return built


def _class(config: dict[str, Any]) -> Any:
    """Returns the class in ``architectures``, which must be registered for the type, or the type's base model.

    Raises InvalidValue.
    """
    import transformers
    from transformers.models.auto import modeling_auto

    model_type = config["model_type"]
    registered: list[str] = []
    for registry in (n for n in dir(modeling_auto) if n.startswith("MODEL_") and n.endswith("_MAPPING_NAMES")):
        names = getattr(modeling_auto, registry).get(model_type, ())
        registered += [names] if isinstance(names, str) else list(names)
    registered = list(dict.fromkeys(registered))
    architectures = config.get("architectures") or []
    if architectures and (
        not isinstance(architectures, list) or len(architectures) != 1 or architectures[0] not in registered
    ):
        raise InvalidValue("architectures", architectures, f"one of {', '.join(registered) or 'none for this model_type'}")
    base = modeling_auto.MODEL_MAPPING_NAMES.get(model_type)
    name = architectures[0] if architectures else (base if isinstance(base, str) else (base or registered or [None])[0])
    model_class = getattr(transformers, name, None) if name else None
    if model_class is None or not hasattr(model_class, "main_input_name"):
        raise InvalidValue("model_type", model_type, "a type with a PyTorch model in transformers")
    return model_class


def _clean(value: Any, depth: int = 0) -> Any:
    """Drops refused keys recursively. Raises InvalidValue for backbones by name, deep nesting and long lists."""
    if depth > 8:
        raise InvalidValue("config", "objects inside objects", "at most 8 deep")
    if isinstance(value, dict):
        pretrained = value.get("use_timm_backbone") or value.get("use_pretrained_backbone")
        if isinstance(value.get("backbone"), str) or pretrained:
            raise InvalidValue("backbone", value.get("backbone"), "a backbone_config: a named backbone would be downloaded")
        kept = {k: v for k, v in value.items() if k not in DROPPED and k not in BACKBONES and isinstance(k, str)}
        return {k: _clean(v, depth + 1) for k, v in kept.items() if not k.startswith("__")}
    if isinstance(value, list):
        if len(value) > MAX_ITEMS:
            raise InvalidValue("config", f"a list of {len(value)}", f"at most {MAX_ITEMS} items")
        return [_clean(v, depth + 1) for v in value]
    return value


def _numbers(value: Any, path: str = "config") -> Iterator[tuple[str, int]]:
    """Yields (key, value) for every integer in the config."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, path)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield path, value


def line(error: Exception) -> str:
    """Returns the first line of a library's error message, or the error's type if that line may contain a path."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text[:200] if "/" not in text else type(error).__name__
