"""Sizes to try for dynamic dimensions, by their probable meaning. Runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lib.model_inputs import dimensions
from lib.model_inputs.signature import Signature

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
Sizes = dict[str, int]
Pick = Callable[[str, str, int], int]  # (symbol, kind, how many of this kind came before) -> size


def propose(signature: Signature) -> Sizes:
    """Sizes that such a model is probably used with: pictures of 224 x 224, a second of sound. Runs nothing."""
    return fill(signature, {}, lambda symbol, kind, place: PLAUSIBLE[kind])


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

        return fill(signature, fixed, pick)

    height = max((len(RUNGS[k]) for k in climbing), default=1)
    for step in range(height if len(climbing) == 1 else 6):
        yield rung(step, climbing)
    if len(climbing) > 1:
        for size in (8, 16, 64):  # dimensions of different names that must be the same
            yield fill(signature, fixed, lambda symbol, kind, place, n=size: 1 if kind == "batch" else n)
        for step in range(1, height):
            for kind in climbing:
                yield rung(step, (kind,))
    yield fill(signature, fixed, lambda symbol, kind, place: 2 if kind == "batch" else RUNGS[kind][0])


def fill(signature: Signature, fixed: Sizes, pick: Pick) -> Sizes:
    """A size for every symbol: as fixed, as the signature allows, as its parts add up, or as ``pick`` says."""
    kinds, out = dimensions.kinds(signature), dict(fixed)
    places: dict[str, int] = {}
    for symbol, kind in kinds.items():
        place = places[kind] = places.get(kind, -1) + 1
        if symbol not in out:
            wanted, some = pick(symbol, kind, place), signature.sizes.get(symbol)
            out[symbol] = min(some, key=lambda n, w=wanted: abs(n - w)) if some else wanted
    for symbol in kinds:
        if symbol not in fixed:
            size = out.pop(symbol)  # a name may not be its own part; a copy a symbol would be quadratic
            derived = dimensions.derived(symbol, out)
            out[symbol] = size if derived is None else derived
    return {symbol: out[symbol] for symbol in kinds}
