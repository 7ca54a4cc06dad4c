"""Parse the options of a conversion from a client's JSON, a query string or a form."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lib.convert.service.options import OF_THE_PROOF
from lib.errors import InvalidValue
from lib.model_inputs.preprocessing import parse

YES, NO = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}
SAMPLES = "samples"  # the option that is a file on every route
# JSON schema for API clients; gradio does not support lists of types
OPTIONS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Options of the conversion, by name",
    "properties": {
        "samples": {"type": "string", "description": "Real inputs: the name of one of the uploaded files."},
        "preprocessing": {
            "type": "object",
            "description": "How pictures become the input, where the guess is wrong: size, layout, crop …",
        },
        "sizes": {"type": "string", "description": 'Sizes of dynamic dimensions, such as "batch=4, samples=512".'},
        "min_agreement": {
            "type": "number",
            "minimum": 0.5,
            "maximum": 1,
            "description": "Minimum share of samples with the same answer.",
        },
        "seeds": {
            "type": "array",
            "items": {"type": "integer"},
            "description": "Seeds of the random test inputs, three or more.",
        },
        "anyway": {"type": "boolean", "description": "True: also return a file that is not proven, named .unproven."},
    },
    "additionalProperties": True,
}

Specs = dict[str, dict[str, Any]]  # an option's name -> its description from the registry


def specs(rows: Iterable[dict[str, Any]]) -> Specs:
    """Return the options of all conversions by name, without those of the proof."""
    return {o["name"]: o for row in rows for o in row["options"] if o["name"] not in OF_THE_PROOF}


def from_client(options: Any, files: dict[str, Path], known: Specs) -> dict[str, Any]:
    """Parse the options of an API call. An option that is a file holds the name of an upload, which is removed from
    ``files``.

    Paths are not accepted: a client could name any file of this machine. Raises InvalidValue.
    """
    if isinstance(options, str):
        try:
            options = json.loads(options or "{}")
        except ValueError:
            raise InvalidValue("options", options, 'an object such as {"opset": 18}') from None
    if options is not None and not isinstance(options, dict):
        raise InvalidValue("options", options, 'an object such as {"opset": 18}')
    parsed = dict(options or {})
    if isinstance(parsed.get("seeds"), str):
        parsed["seeds"] = seeds(parsed["seeds"])
    if isinstance(parsed.get("preprocessing"), str):
        parsed["preprocessing"] = preprocessing(parsed["preprocessing"])
    for name, value in parsed.items():
        if is_file(name, known) and value is not None:
            if not isinstance(value, str) or value not in files:
                raise InvalidValue(name, value, "the name of one of the uploaded files")
            parsed[name] = str(files[value])
    for path in [v for name, v in parsed.items() if is_file(name, known)]:
        for name in [n for n, p in files.items() if str(p) == path]:
            del files[name]
    return parsed


def is_file(name: str, known: Specs) -> bool:
    return name == SAMPLES or known.get(name, {}).get("kind") == "file"


def from_query(query: dict[str, str], known: Specs) -> dict[str, Any]:
    """Parse the options in a query string, such as ``opset=18&anyway=1&seeds=1,2,3``. Raises InvalidValue."""
    return {name: _typed(name, text, known.get(name, {})) for name, text in query.items()}


def seeds(text: str | None) -> list[int] | None:
    """Parse seeds: ``1, 2, 3`` → [1, 2, 3]. Returns None for an empty text. Raises InvalidValue."""
    if not (text or "").strip():
        return None
    try:
        return [int(part) for part in str(text).replace(";", ",").split(",")]
    except ValueError:
        raise InvalidValue("seeds", text, "whole numbers separated by commas, such as 1, 2, 3") from None


def preprocessing(text: str | None) -> dict[str, Any] | None:
    """Parse preprocessing, such as ``size=224, normalization=imagenet`` or the same as JSON.

    Returns None for an empty text. Raises InvalidValue.
    """
    return parse(text) or None


def _typed(name: str, text: str, spec: dict[str, Any]) -> Any:
    if name == "seeds":
        return seeds(text)
    if name == "preprocessing":
        return preprocessing(text)
    if name == "min_agreement":
        try:
            return float(text)
        except ValueError:
            raise InvalidValue(name, text, "a number from 0.5 to 1") from None
    kind = "bool" if name == "anyway" else spec.get("kind", "")
    if kind == "bool":
        if text.lower() not in YES | NO:
            raise InvalidValue(name, text, "1 or 0")
        return text.lower() in YES
    if kind == "int":
        try:
            return int(text)
        except ValueError:
            raise InvalidValue(name, text, "a whole number") from None
    if kind == "file" or name == SAMPLES:
        raise InvalidValue(name, text, f"a file, which goes along as a form: -F model=@model.onnx -F {name}=@file")
    return text
