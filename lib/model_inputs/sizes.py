"""Sizes of dynamic dimensions: parses them, proposes plausible ones, and finds sizes that a model accepts.

Many networks refuse most sizes: pictures must be multiples of 32, waves at least 512 samples, decoders need even
sides. Files do not say so; ``search`` finds out by trying. Knows no runtime: the caller runs the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches

from lib.errors import InvalidValue
from lib.model_inputs import dimensions, integers
from lib.model_inputs.integers import Ranges
from lib.model_inputs.ladder import OTHERS, Pick, Sizes, fill, ladder, propose
from lib.model_inputs.signature import Signature

__all__ = ["SizeSearch", "check", "ladder", "parse", "propose", "search", "sizes_text"]
LARGEST = 16_000_000  # of one dimension: a thousand seconds of sound
MAX_TRIES = 24
FOR_SECOND = 7  # of these are kept for other sizes
ALLOWED = "pairs of a dimension's name and a whole number, as in batch=4, samples=512"


@dataclass(slots=True)
class SizeSearch:
    """What ``search`` found. ``accepted`` False: the model refused every size that was tried; ``refused`` says why.

    ``second``: other sizes that are taken, too, every dimension another one if possible; None where there are none.
    ``integers``: the values that integer inputs without a role may have, input -> (lowest, highest), both included.
    They are tried with ``integers_too``; else they are what the names suggest.
    """

    sizes: Sizes
    second: Sizes | None = None
    tried: int = 0
    refused: list[tuple[Sizes, str]] = field(default_factory=list)
    note: str = ""
    accepted: bool = True
    integers: Ranges = field(default_factory=dict)
    before: int = 0  # refused before the first that was taken


def parse(text: str) -> Sizes:
    """``batch=4, samples=512`` -> {"batch": 4, "samples": 512}; "" -> {}. Raises InvalidValue."""
    out: Sizes = {}
    for part in (p.strip() for p in re.split(r"[,;\n]", text)):
        if not part:
            continue
        name, sign, number = (p.strip().strip("'\"") for p in part.rpartition("="))
        if not sign or not name or not re.fullmatch(r"[0-9]{1,12}", number):
            raise InvalidValue("sizes", part, ALLOWED)
        if int(number) > LARGEST:
            raise InvalidValue("sizes", part, f"at most {LARGEST:,} per dimension")
        if out.get(name, int(number)) != int(number):
            raise InvalidValue("sizes", text, f"one size per dimension; {name} has two")
        out[name] = int(number)
    return out


def check(fixed: Sizes, signature: Signature) -> None:
    """Raises InvalidValue for a name that is no dynamic dimension. Whether the model takes the size, its run says."""
    symbols = signature.symbols()
    for name, size in fixed.items():
        if name not in symbols:
            near = get_close_matches(name, symbols, 1)
            known = ", ".join(symbols[:12]) + ", …" * (len(symbols) > 12)
            allowed = f"the model's dynamic dimensions: {known}" if symbols else "none: the model has no dynamic dimension"
            raise InvalidValue("sizes", f"{name}={size}", allowed + (f". Did you mean {near[0]}?" if near else ""))


def search(
    signature: Signature,
    fixed: Sizes | None,
    accepts: Callable[..., str],
    *,
    integers_too: bool = False,
    most: int = MAX_TRIES,
) -> SizeSearch:
    """Tries sizes until the model takes some. At most ``most`` tries; the caller limits the time of each.

    ``accepts(sizes)`` runs the model: "" where it takes them, else its complaint. With ``integers_too`` it is called as
    ``accepts(sizes, ranges)``: integer inputs that nobody explains are tried as their names suggest, as ones, as zeros.
    """
    fixed = dict(fixed or {})
    check(fixed, signature)
    found = SizeSearch({}, accepted=False)

    def is_accepted(sizes: Sizes, ranges: Ranges) -> bool:
        found.tried += 1
        why = accepts(dict(sizes), dict(ranges)) if integers_too else accepts(dict(sizes))
        if why:
            found.refused.append((sizes, " ".join(str(why).split())[:300]))
        return not why

    for sizes, level in _tries(signature, fixed, integers_too):
        if found.tried >= most - FOR_SECOND:
            break
        ranges = integers.ranges(signature, sizes, level)
        if is_accepted(sizes, ranges):
            found.sizes, found.integers, found.accepted, found.before = sizes, ranges, True, len(found.refused)
            break
    if found.accepted:
        found.second = _second(signature, fixed, found, is_accepted, most)
    found.note = _note(signature, fixed, found)
    return found


def _tries(signature: Signature, fixed: Sizes, integers_too: bool) -> Iterator[tuple[Sizes, int]]:
    names = integers.ranges(signature, {}) if integers_too else {}
    unknown = any(v.name in names and not dimensions.is_rate(v) for v in signature.inputs)
    for number, sizes in enumerate(ladder(signature, fixed)):
        if not unknown:
            yield sizes, integers.AS_NAMED
            if names and number == 0:
                yield sizes, integers.ZEROS  # another sample rate
        elif number == 0:
            yield from ((sizes, level) for level in integers.LEVELS)
        else:
            yield sizes, integers.ONES


def _second(
    signature: Signature, fixed: Sizes, found: SizeSearch, is_accepted: Callable[[Sizes, Ranges], bool], most: int
) -> Sizes | None:
    """Other sizes, all different if the model takes them; then multiples of the found ones; then only some changed."""
    kinds, first = dimensions.kinds(signature), found.sizes

    def other(symbol: str, kind: str, place: int) -> int:
        return next(n for n in (*OTHERS[kind][place % 3 :], *OTHERS[kind]) if n != first[symbol])

    def multiple(symbol: str, kind: str, place: int) -> int:
        return OTHERS["batch"][place % 3] if kind == "batch" else first[symbol] * (2 + place) or 4

    def equal(symbol: str, kind: str, place: int) -> int:
        return 2 if kind == "batch" else first[symbol] * 2 or 4

    def keep(some: Pick, batch: bool) -> Pick:
        return lambda symbol, kind, place: first[symbol] if (kind == "batch") is batch else some(symbol, kind, place)

    ways = [other, multiple, equal, keep(other, True), keep(equal, True), keep(other, False), keep(equal, False)]
    seen = [first]
    for way in ways if any(s not in fixed for s in kinds) else []:
        sizes = fill(signature, fixed, way)
        if sizes in seen:
            continue
        if found.tried >= most:
            return None
        seen.append(sizes)
        if is_accepted(sizes, integers.same_level(signature, sizes, found.integers)):
            return sizes
    return None


def _note(signature: Signature, fixed: Sizes, found: SizeSearch) -> str:
    """A sentence or two: the accepted sizes, how many were refused before, and the model's reason for one of them."""
    if not found.accepted:
        sizes, why = found.refused[-1]
        last = f"the last were {sizes_text(sizes)}: " if sizes else ""
        many = f"{found.tried} sizes were tried and it takes none of them; " if found.tried > 1 else "It does not run; "
        return f"The model refuses its inputs. {many}{last}{why}"
    if not found.sizes:
        return ""
    note = f"Sizes: {sizes_text(found.sizes)}" + (", as given." if set(fixed) == set(found.sizes) else ".")
    if found.before:
        sizes, why = found.refused[0]
        first = f"{sizes_text(sizes)} ({why})"
        note = f"Sizes: {sizes_text(found.sizes)}, found by trial: {found.before} were refused before, such as {first}."
    if found.second is not None:
        return f"{note} It also takes {sizes_text(found.second)}."
    return note if set(fixed) == set(found.sizes) else f"{note} It took none of the other sizes that were tried."


def sizes_text(sizes: Sizes) -> str:
    """{"batch": 4} -> ``batch=4``, which ``parse`` reads."""
    return ", ".join(f"{name}={size}" for name, size in sizes.items())
