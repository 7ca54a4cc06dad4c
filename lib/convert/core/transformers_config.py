"""Check a transformers ``config.json``: it may only describe a built-in architecture and must not load anything else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from lib.convert.core import json_text
from lib.errors import InvalidFile

MAX_BYTES = 4 << 20
MODEL_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
# keys that make transformers load other code, or other weights than the checked ones
LOADING = (
    *("attn_implementation", "_attn_implementation", "_attn_implementation_internal", "_attn_implementation_autoset"),
    *("experts_implementation", "_experts_implementation", "_experts_implementation_internal"),
    *("use_kernels", "kernel_config", "transformers_weights", "adapter_path", "peft_config"),
)
# the above, and the origin of the model, which is not needed
DROPPED = ("_name_or_path", "name_or_path", "_commit_hash", *LOADING)
REFUSED = {
    "auto_map": "It refers to Python code that comes with the model, which is never run.",
    "custom_pipelines": "It refers to Python code that comes with the model, which is never run.",
    "trust_remote_code": "External code is never run.",
    "quantization_config": "Its weights are quantised in a custom way: upload the model from before quantisation.",
    "compression_config": "Its weights are compressed in a custom way: upload the model from before compression.",
}


def check_config(found: dict[str, Any], what: str = "config.json") -> dict[str, Any]:
    """Check a config and remove the ``DROPPED`` keys in place. Returns the config. Raises InvalidFile."""
    kind = found.get("model_type")
    if not isinstance(kind, str) or not MODEL_TYPE.fullmatch(kind) or ".." in kind:
        raise InvalidFile(
            f"{what} has the model_type {str(kind)[:80]!r}; the plain name of an architecture is needed, such as 'bert'."
        )
    for section in json_text.objects(found):
        for key in DROPPED:
            section.pop(key, None)
        for key, reason in REFUSED.items():
            if section.get(key):
                raise InvalidFile(f"{what} has {key!r}. {reason}")
        nested = section.get("model_type")
        if nested is not None and (not isinstance(nested, str) or not (nested == "" or MODEL_TYPE.fullmatch(nested))):
            raise InvalidFile(f"{what} has a part with the model_type {str(nested)[:80]!r}; a plain name is needed.")
        classes = section.get("architectures")
        if classes is not None and not (
            isinstance(classes, list) and all(isinstance(c, str) and CLASS.fullmatch(c) for c in classes)
        ):
            raise InvalidFile(f"{what} has the architectures {str(classes)[:80]!r}; class names are needed.")
        backbone = section.get("backbone")
        if isinstance(backbone, str) and not MODEL_TYPE.fullmatch(backbone):
            raise InvalidFile(f"{what} has the backbone {backbone[:80]!r}, which would be loaded from elsewhere.")
        if section.get("use_pretrained_backbone"):
            raise InvalidFile(
                f"{what} asks for a pretrained backbone, which would be loaded from elsewhere; set it to false."
            )
        for key, value in section.items():
            if isinstance(value, str) and value.startswith(("/", "\\", "~", "../", "./", "file:", "http:", "https:", "hf:")):
                raise InvalidFile(f"{what} has a path or URL under {key[:60]!r}: {value[:60]!r}; remove it.")
    return found


def write_checked(path: Path, target: Path) -> None:
    """Write a checked copy of the config to ``target``. Raises InvalidFile."""
    if path.stat().st_size > MAX_BYTES:
        raise InvalidFile(f"config.json has {path.stat().st_size:,} bytes; at most {MAX_BYTES:,} are read.")
    config = check_config(json_text.parse(path.read_bytes(), "config.json"))
    target.write_text(json.dumps(config, indent=1))
