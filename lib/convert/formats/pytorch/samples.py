"""A model's inputs as torch tensors, by seed: what describing, calibrating and exporting run on. Made by ``feeds``.

They come from a random stream of their own: whatever seeds a visitor chooses, the proof has other inputs.
"""

from __future__ import annotations

from typing import Any

from lib.convert.proof import cases as proof_cases
from lib.model_inputs.signature import Signature


def make(signature: Signature, sizes: dict[str, int], seed: int) -> tuple[Any, ...]:
    """One tensor per input; ``sizes`` gives every symbol a size."""
    import torch

    case = proof_cases.cases(signature, (seed,), sizes, stream=proof_cases.CALIBRATION, only_first=True)[0]
    return tuple(torch.from_numpy(case.arrays[v.name]) for v in signature.inputs)


def sizes(signature: Signature, choice: int) -> dict[str, int]:
    """The ``choice``-th set of sizes, no two symbols of one size and none 1 (an exporter takes 1 for a constant)."""
    out: dict[str, int] = {}
    for symbol in signature.symbols():
        allowed = signature.sizes.get(symbol, (2, 3) if symbol == "batch" else (11, 14))
        out[symbol] = allowed[min(choice, len(allowed) - 1)]
    return out
