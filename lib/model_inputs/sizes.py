"""Sizes of dynamic dimensions: as a user writes them, as they are plausible, and as a model takes them.

Many networks refuse most sizes: pictures must be multiples of 32, waves at least 512 samples, decoders want even
sides. Nothing in a file says so; ``search`` finds out by trying. Knows no runtime: the caller runs the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from lib.errors import InvalidValue
from lib.model_inputs import dimensions, integers
from lib.model_inputs.integers import Ranges
from lib.model_inputs.signature import Signature

LARGEST = 16_000_000  # of one dimension: a thousand seconds of sound
MOST_TRIES = 24
FOR_SECOND = 7  # of these are kept for other sizes
# what is tried, one rung after the other, by what the dimension probably is; the last one stays
RUNGS: dict[str, tuple[int, ...]] = {
    "batch": (1,),
    "space": (64, 224, 96, 32, 256, 128, 320, 640, 512, 299, 28, 384, 1024),
    "latent": (64, 32, 16, 8, 96, 24, 128, 7),
    "sequence": (8, 16, 32, 64, 128, 256, 512, 576, 1024, 77, 4, 1, 2048, 4096, 16000),
    "frames": (16, 32, 64, 100, 128, 200, 256, 400, 512, 1000, 3000, 1),
    "wave": (512, 16000, 1024, 4096, 400, 8000, 480, 160, 576, 256, 32000, 48000, 80000),
    "past": (4, 8, 0, 1, 16),
    "other": (4, 8, 1, 2, 16, 32, 64, 128, 256, 512, 1024, 3, 16000),
}
PLAUSIBLE = {"batch": 1, "space": 224, "latent": 64, "sequence": 16, "frames": 100, "wave": 16000, "past": 16, "other": 4}
# other sizes than the ones found, no two the same: two dimensions that changed places show
OTHERS: dict[str, tuple[int, ...]] = {
    "batch": (3, 2, 5),
    "space": (96, 128, 160),
    "latent": (48, 80, 96),
    "sequence": (13, 11, 17),
    "frames": (48, 80, 112),
    "wave": (1536, 2048, 3072),
    "past": (5, 9, 7),
    "other": (6, 7, 9),
}
ALLOWED = "pairs of a dimension's name and a whole number, as in batch=4, samples=512"
Sizes = dict[str, int]


@dataclass(slots=True)
class Found:
    """What ``search`` found. ``taken`` False: the model refused every size that was tried; ``refused`` says why.

    ``second``: other sizes that are taken, too, every dimension another one if possible; None where there are none.
    ``integers``: the values that integer inputs without a role may have, input -> (lowest, highest), both included.
    They are tried with ``integers_too``; else they are what the names suggest.
    """

    sizes: Sizes
    second: Sizes | None = None
    tried: int = 0
    refused: list[tuple[Sizes, str]] = field(default_factory=list)
    note: str = ""
    taken: bool = True
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
            raise InvalidValue("sizes", part, f"at most {LARGEST:,} a dimension")
        if out.get(name, int(number)) != int(number):
            raise InvalidValue("sizes", text, f"one size a dimension; {name} has two")
        out[name] = int(number)
    return out


def check(fixed: Sizes, signature: Signature) -> None:
    """Raises InvalidValue for a name that is no dynamic dimension, and for a size that it may not have."""
    symbols = signature.symbols()
    for name, size in fixed.items():
        if name not in symbols:
            near = get_close_matches(name, symbols, 1)
            known = ", ".join(symbols[:12]) + ", …" * (len(symbols) > 12)
            allowed = f"the model's free dimensions: {known}" if symbols else "none, as the model has no free dimension"
            raise InvalidValue("sizes", f"{name}={size}", allowed + (f". Did you mean {near[0]}?" if near else ""))
        some = signature.sizes.get(name)
        if some and size not in some:
            raise InvalidValue("sizes", f"{name}={size}", f"{', '.join(map(str, some))} for {name}")


def propose(signature: Signature) -> Sizes:
    """Sizes that such a model is probably used with: pictures of 224 x 224, a second of sound. Runs nothing."""
    return _filled(signature, {}, lambda symbol, kind, place: PLAUSIBLE[kind])


def ladder(signature: Signature, fixed: Sizes | None = None) -> Iterator[Sizes]:
    """Sizes to try, the likeliest first, none twice: all dimensions climb together, then all the same, then each
    kind alone. ``fixed`` ones keep theirs."""
    seen: list[Sizes] = []
    for sizes in _candidates(signature, fixed or {}):
        if sizes not in seen:
            seen.append(sizes)
            yield sizes


def _candidates(signature: Signature, fixed: Sizes) -> Iterator[Sizes]:
    kinds = dimensions.kinds(signature)
    climbing = list(dict.fromkeys(k for s, k in kinds.items() if s not in fixed and k != "batch"))

    def rung(step: int, only: Sequence[str]) -> Sizes:
        def pick(symbol: str, kind: str, place: int) -> int:
            return RUNGS[kind][min(step if kind in only else 0, len(RUNGS[kind]) - 1)]

        return _filled(signature, fixed, pick)

    height = max((len(RUNGS[k]) for k in climbing), default=1)
    for step in range(height if len(climbing) == 1 else 6):
        yield rung(step, climbing)
    if len(climbing) > 1:
        for size in (8, 16, 64):  # dimensions of different names that must be the same
            yield _filled(signature, fixed, lambda symbol, kind, place, n=size: 1 if kind == "batch" else n)
        for step in range(1, height):
            for kind in climbing:
                yield rung(step, (kind,))
    yield _filled(signature, fixed, lambda symbol, kind, place: 2 if kind == "batch" else RUNGS[kind][0])


def search(
    signature: Signature,
    fixed: Sizes | None,
    accepts: Callable[..., str],
    *,
    integers_too: bool = False,
    most: int = MOST_TRIES,
) -> Found:
    """Tries sizes until the model takes some. At most ``most`` tries; the caller limits the time of each.

    ``accepts(sizes)`` runs the model: "" where it takes them, else its complaint. With ``integers_too`` it is called as
    ``accepts(sizes, ranges)``: integer inputs that nobody explains are tried as their names suggest, as ones, as zeros.
    """
    fixed = dict(fixed or {})
    check(fixed, signature)
    found = Found({}, taken=False)

    def takes(sizes: Sizes, ranges: Ranges) -> bool:
        found.tried += 1
        why = accepts(dict(sizes), dict(ranges)) if integers_too else accepts(dict(sizes))
        if why:
            found.refused.append((sizes, " ".join(str(why).split())[:300]))
        return not why

    for sizes, level in _tries(signature, fixed, integers_too):
        if found.tried >= most - FOR_SECOND:
            break
        ranges = integers.ranges(signature, sizes, level)
        if takes(sizes, ranges):
            found.sizes, found.integers, found.taken, found.before = sizes, ranges, True, len(found.refused)
            break
    if found.taken:
        found.second = _second(signature, fixed, found, takes, most)
    found.note = _note(signature, fixed, found)
    return found


def _tries(signature: Signature, fixed: Sizes, integers_too: bool) -> Iterator[tuple[Sizes, int]]:
    unknown = integers_too and bool(integers.ranges(signature, {}, 0))
    for number, sizes in enumerate(ladder(signature, fixed)):
        if not unknown:
            yield sizes, 0
        elif number == 0:
            yield from ((sizes, level) for level in integers.LEVELS)
        else:
            yield sizes, integers.ONES


def _second(
    signature: Signature, fixed: Sizes, found: Found, takes: Callable[[Sizes, Ranges], bool], most: int
) -> Sizes | None:
    """Other sizes, all different if the model takes them; then multiples of the found ones; then only some changed."""
    kinds, first = dimensions.kinds(signature), found.sizes

    def other(symbol: str, kind: str, place: int) -> int:
        return next(n for n in (*OTHERS[kind][place % 3 :], *OTHERS[kind]) if n != first[symbol])

    def multiple(symbol: str, kind: str, place: int) -> int:
        return OTHERS["batch"][place % 3] if kind == "batch" else first[symbol] * (2 + place) or 4

    def equal(symbol: str, kind: str, place: int) -> int:
        return 2 if kind == "batch" else first[symbol] * 2 or 4

    def keep(some: Callable[[str, str, int], int], batch: bool) -> Callable[[str, str, int], int]:
        return lambda symbol, kind, place: first[symbol] if (kind == "batch") is batch else some(symbol, kind, place)

    ways = [other, multiple, equal, keep(other, True), keep(equal, True), keep(other, False), keep(equal, False)]
    seen = [first]
    for way in ways if any(s not in fixed for s in kinds) else []:
        sizes = _filled(signature, fixed, way)
        if sizes in seen:
            continue
        if found.tried >= most:
            return None
        seen.append(sizes)
        if takes(sizes, integers.same_level(signature, sizes, found.integers)):
            return sizes
    return None


def _filled(signature: Signature, fixed: Sizes, pick: Callable[[str, str, int], int]) -> Sizes:
    """A size for every symbol: as fixed, as the signature allows, as its parts add up, or as ``pick``
    (symbol, kind, how many of this kind came before) says."""
    kinds, out = dimensions.kinds(signature), dict(fixed)
    places: dict[str, int] = {}
    for symbol, kind in kinds.items():
        place = places[kind] = places.get(kind, -1) + 1
        if symbol not in out:
            wanted, some = pick(symbol, kind, place), signature.sizes.get(symbol)
            out[symbol] = min(some, key=lambda n, w=wanted: abs(n - w)) if some else wanted
    for symbol in kinds:
        if (
            symbol not in fixed
            and (size := dimensions.derived(symbol, {s: n for s, n in out.items() if s != symbol})) is not None
        ):
            out[symbol] = size
    return {symbol: out[symbol] for symbol in kinds}


def _note(signature: Signature, fixed: Sizes, found: Found) -> str:
    """A sentence or two: what was taken, how many were refused before, and the model's words for one of them."""
    if not found.taken:
        sizes, why = found.refused[-1]
        last = f"the last were {shown(sizes)}: " if sizes else ""
        many = f"{found.tried} sizes were tried and it takes none of them; " if found.tried > 1 else "It does not run; "
        return f"The model refuses its inputs. {many}{last}{why}"
    if not found.sizes:
        return ""
    note = f"Sizes: {shown(found.sizes)}" + (", as given." if set(fixed) == set(found.sizes) else ".")
    if found.before:
        sizes, why = found.refused[0]
        note = (
            f"Sizes: {shown(found.sizes)}, found by trying: {found.before} refused before, such as {shown(sizes)} ({why})."
        )
    if found.second is not None:
        return f"{note} It takes {shown(found.second)}, too."
    return note if set(fixed) == set(found.sizes) else f"{note} It took none of the other sizes that were tried."


def shown(sizes: Sizes) -> str:
    """{"batch": 4} -> ``batch=4``, which ``parse`` reads."""
    return ", ".join(f"{name}={size}" for name, size in sizes.items())
