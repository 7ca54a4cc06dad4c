"""What a visitor chose for a route: every edge's options with defaults, and those of the proof. Runs nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lib.convert.edges import Edge, Option
from lib.convert.feeds import SEEDS
from lib.errors import InvalidValue

LEAST_SEEDS, MOST_SEEDS, HIGHEST_SEED = 3, 16, 2**32 - 1
MOST_TEXT = 200  # characters of an option that is text


@dataclass(frozen=True, slots=True)
class Chosen:
    """``of_edge`` has one dict for every hop; ``given`` is what was set, for the report."""

    of_edge: list[dict[str, Any]]
    seeds: tuple[int, ...]
    anyway: bool
    given: dict[str, Any]


def chosen(route: tuple[Edge, ...], options: dict[str, Any]) -> Chosen:
    """Raises InvalidValue for an option that no edge of the route takes, and for a value out of range."""
    if not isinstance(options, dict):
        raise InvalidValue("options", options, 'an object such as {"opset": 18}')
    # two hops may have an option of one name: it describes the result, so the last one takes it
    takes = {o.name: (k, o) for k, edge in enumerate(route) for o in edge.options}
    known = {name: option for name, (_, option) in takes.items()}
    if odd := sorted(options.keys() - known.keys() - {"anyway", "seeds"}):
        raise InvalidValue("an option's name", odd[0], f"for this route: {', '.join([*known, 'anyway', 'seeds'])}")
    anyway = options.get("anyway", False)
    if not isinstance(anyway, bool):
        raise InvalidValue("anyway", anyway, "true or false")
    values = {name: _value(option, options[name]) for name, option in known.items() if options.get(name) is not None}
    edges = [{o.name: o.default for o in edge.options} for edge in route]
    for name, value in values.items():
        edges[takes[name][0]][name] = value
    shown = {name: value for name, value in options.items() if name not in known or known[name].kind != "file"}
    return Chosen(edges, _seeds(options.get("seeds")), anyway, shown)


def _seeds(given: Any) -> tuple[int, ...]:
    if given is None:
        return SEEDS
    allowed = f"{LEAST_SEEDS} to {MOST_SEEDS} different whole numbers from 0 to {HIGHEST_SEED}"
    right = isinstance(given, list | tuple) and all(isinstance(s, int) and not isinstance(s, bool) for s in given)
    if (
        not right
        or not LEAST_SEEDS <= len(set(given)) == len(given) <= MOST_SEEDS
        or not all(0 <= s <= HIGHEST_SEED for s in given)
    ):
        raise InvalidValue("seeds", given, allowed)
    return tuple(given)


def _value(option: Option, given: Any) -> Any:
    if option.kind == "bool":
        if not isinstance(given, bool):
            raise InvalidValue(option.name, given, "true or false")
    elif option.kind == "int":
        # no isfinite of a whole number: it may be beyond what a float holds
        whole = isinstance(given, int) or (isinstance(given, float) and math.isfinite(given) and given == int(given))
        if isinstance(given, bool) or not whole or not option.low <= given <= option.high:
            raise InvalidValue(option.name, given, f"a whole number from {option.low} to {option.high}")
        return int(given)
    elif option.kind == "choice":
        if isinstance(given, bool) or str(given) not in option.choices:
            raise InvalidValue(option.name, given, ", ".join(option.choices))
        return str(given)
    elif option.kind == "text":
        if not isinstance(given, str) or len(given) > MOST_TEXT or not given.isprintable():
            raise InvalidValue(option.name, given, f"one line of at most {MOST_TEXT} characters")
        return given.strip()
    elif option.kind == "file" and not isinstance(given, str):
        raise InvalidValue(option.name, given, "an uploaded file")
    return given
