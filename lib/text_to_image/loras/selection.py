"""Parse the LoRAs of a request with their weights. Independent of files and tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lib.errors import InvalidValue

MAX_LORAS, MAX_WEIGHT = 8, 2.0
# tags in prompts as in A1111's web UI, <lora:name:0.8>, including whitespace before them
TAG = re.compile(r"\s*<lora:([^:<>]{1,100})((?::[^:<>]{0,40}){0,3})>")
FORM = f"name:weight, other:weight (weights 0 to {MAX_WEIGHT:g}, 1 by default)"
TAG_FORM = f"<lora:name:weight> with one weight from 0 to {MAX_WEIGHT:g}"

Loras = tuple[tuple[str, float], ...]


def extract_tags(prompt: str) -> tuple[str, Loras]:
    """Return the prompt without its LoRA tags, and the LoRAs. Raises InvalidValue."""
    loras: list[tuple[str, float]] = []

    def take(tag: re.Match[str]) -> str:
        # A1111 has separate weights for the text encoder and the UNet; here they must be equal
        weights = set(filter(None, tag[2].split(":"))) or {"1"}
        if len(weights) > 1:
            raise InvalidValue("prompt", tag[0].strip(), TAG_FORM)
        loras.append((tag[1].strip(), _weight(weights.pop(), "prompt", TAG_FORM)))
        return ""

    rest = TAG.sub(take, prompt)
    return (rest.strip() if loras else prompt), tuple(loras)


def with_tags(prompt: str, loras: Loras) -> str:
    """Append tags to a prompt, for the text chunk of a picture that A1111's web UI reads."""
    return " ".join([prompt, *(f"<lora:{name}:{weight:g}>" for name, weight in loras)])


def parse(value: Any) -> Loras:
    """Parse a text (``FORM``) or JSON: the same text, a list of texts or of [name, weight], or {name: weight}.

    Weights of a repeated name are added, as with repeated tags in A1111's web UI. Raises InvalidValue.
    """
    if isinstance(value, str):
        pairs = [_pair(part) for part in value.split(",") if part.strip()]
    elif isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, (list, tuple)):
        pairs = [_pair(one) for one in value]
    else:
        raise InvalidValue("loras", value, FORM)
    total: dict[str, float] = {}
    for name, weight in pairs:
        if not isinstance(name, str) or not name.strip() or len(name) > 100:
            raise InvalidValue("loras", value, FORM)
        total[name.strip()] = round(total.get(name.strip(), 0.0) + _weight(weight, "loras", FORM), 4)
    for name, weight in total.items():
        if weight > MAX_WEIGHT:
            raise InvalidValue("loras", f"{name}:{weight:g}", FORM)
    if len(total) > MAX_LORAS:
        raise InvalidValue("loras", f"{len(total)} names", f"at most {MAX_LORAS} of them")
    return tuple(total.items())


def _pair(one: Any) -> tuple[Any, Any]:
    if isinstance(one, str):
        name, colon, weight = one.rpartition(":")
        return (name, weight) if colon else (one, 1.0)
    if isinstance(one, (list, tuple)) and len(one) == 2:
        return one[0], one[1]
    raise InvalidValue("loras", one, FORM)


def _weight(given: Any, field: str, allowed: str) -> float:
    try:
        weight = None if isinstance(given, bool) else round(float(given), 4)
    except (TypeError, ValueError, OverflowError):
        weight = None
    if weight is None or not 0 <= weight <= MAX_WEIGHT:
        raise InvalidValue(field, given, allowed)
    return weight
