"""Validate the options of a route: those of its edges, with defaults, and those of the proof."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.edges import Edge
from lib.convert.proof.cases import SEEDS
from lib.convert.proof.quality import MIN_AGREEMENT
from lib.errors import InvalidValue
from lib.model_inputs import sizes

MIN_SEEDS, MAX_SEEDS, HIGHEST_SEED = 3, 16, 2**32 - 1
MAX_TEXT = 200  # maximum characters of a text option


OF_THE_PROOF = ("anyway", "min_agreement", "preprocessing", "samples", "seeds", "sizes")
LOWEST_AGREEMENT = 0.5


@dataclass(frozen=True, slots=True)
class Chosen:
    """Validated options. ``of_edge``: one dict per hop; ``given``: the options as they were set, for the report.

    ``samples``: path of a file with real inputs; ``preprocessing``: of its pictures, None to guess; ``sizes``: of dynamic
    dimensions; ``min_agreement``: share of samples on which a lossy file must agree with the source.
    """

    of_edge: list[dict[str, Any]]
    seeds: tuple[int, ...]
    anyway: bool
    given: dict[str, Any]
    samples: str | None = None
    preprocessing: dict[str, Any] | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    min_agreement: float = MIN_AGREEMENT


def chosen(route: tuple[Edge, ...], options: dict[str, Any]) -> Chosen:
    """Validate options. Raises InvalidValue for an option that no edge of the route has, and for an invalid value."""
    if not isinstance(options, dict):
        raise InvalidValue("options", options, 'an object such as {"opset": 18}')
    # if two hops have an option of the same name, the last one gets it, as it describes the result
    options_by_name = {o.name: (k, o) for k, edge in enumerate(route) for o in edge.options}
    known = {name: option for name, (_, option) in options_by_name.items()}
    if unknown := sorted(options.keys() - known.keys() - set(OF_THE_PROOF)):
        raise InvalidValue("an option's name", unknown[0], f"for this route: {', '.join([*known, *OF_THE_PROOF])}")
    anyway = options.get("anyway", False)
    if not isinstance(anyway, bool):
        raise InvalidValue("anyway", anyway, "true or false")
    values = {name: _value(option, options[name]) for name, option in known.items() if options.get(name) is not None}
    edges = [{o.name: o.default for o in edge.options} for edge in route]
    for name, value in values.items():
        edges[options_by_name[name][0]][name] = value
    files = {"samples", *(name for name, option in known.items() if option.kind == "file")}
    displayed = {n: Path(v).name if n in files and isinstance(v, str) else v for n, v in options.items()}
    return Chosen(
        edges,
        _seeds(options.get("seeds")),
        anyway,
        displayed,
        _samples(options.get("samples")),
        _preprocessing(options.get("preprocessing")),
        _sizes(options.get("sizes")),
        _agreement(options.get("min_agreement")),
    )


def _samples(given: Any) -> str | None:
    if given is not None and not isinstance(given, str):
        raise InvalidValue("samples", given, "the name of an uploaded file: .npz, .npy, a zip of pictures, .wav or .txt")
    return given or None


def _preprocessing(given: Any) -> dict[str, Any] | None:
    if given is not None and not isinstance(given, dict):
        raise InvalidValue("preprocessing", given, 'an object such as {"normalization": "imagenet", "layout": "NCHW"}')
    return given or None


def _sizes(given: Any) -> dict[str, int]:
    if given is None or isinstance(given, str):
        return sizes.parse(given or "")
    if not isinstance(given, dict):
        raise InvalidValue("sizes", given, sizes.ALLOWED)
    return sizes.parse(", ".join(f"{name}={size}" for name, size in given.items()))


def _agreement(given: Any) -> float:
    if given is None:
        return MIN_AGREEMENT
    valid = isinstance(given, int | float) and not isinstance(given, bool) and LOWEST_AGREEMENT <= given <= 1
    if not valid:
        raise InvalidValue("min_agreement", given, f"a number from {LOWEST_AGREEMENT:g} to 1")
    return float(given)


def _seeds(given: Any) -> tuple[int, ...]:
    if given is None:
        return SEEDS
    allowed = f"{MIN_SEEDS} to {MAX_SEEDS} different whole numbers from 0 to {HIGHEST_SEED}"
    valid = isinstance(given, list | tuple) and all(isinstance(s, int) and not isinstance(s, bool) for s in given)
    if (
        not valid
        or not MIN_SEEDS <= len(set(given)) == len(given) <= MAX_SEEDS
        or not all(0 <= s <= HIGHEST_SEED for s in given)
    ):
        raise InvalidValue("seeds", given, allowed)
    return tuple(given)


def _value(option: Option, given: Any) -> Any:
    if option.kind == "bool":
        if not isinstance(given, bool):
            raise InvalidValue(option.name, given, "true or false")
    elif option.kind == "int":
        # isfinite only for floats: an int may be too large to convert to float
        is_whole = isinstance(given, int) or (isinstance(given, float) and math.isfinite(given) and given == int(given))
        if isinstance(given, bool) or not is_whole or not option.low <= given <= option.high:
            raise InvalidValue(option.name, given, f"a whole number from {option.low} to {option.high}")
        return int(given)
    elif option.kind == "choice":
        if isinstance(given, bool) or str(given) not in option.choices:
            raise InvalidValue(option.name, given, ", ".join(option.choices))
        return str(given)
    elif option.kind == "text":
        if not isinstance(given, str) or len(given) > MAX_TEXT or not given.isprintable():
            raise InvalidValue(option.name, given, f"one line of at most {MAX_TEXT} characters")
        return given.strip()
    elif option.kind == "file" and not isinstance(given, str):
        raise InvalidValue(option.name, given, "an uploaded file")
    return given
