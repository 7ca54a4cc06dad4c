"""Generates a model's inputs as torch tensors, by seed, for describing, calibrating and exporting it.

They come from a separate random stream, so the proof always uses other inputs, whatever seeds the user chooses.
"""

from __future__ import annotations

from typing import Any

from lib.convert.proof import cases as proof_cases
from lib.model_inputs.signature import Signature


def make(signature: Signature, sizes: dict[str, int], seed: int) -> tuple[Any, ...]:
    """Returns one tensor per input; ``sizes`` assigns a size to every symbol."""
    import torch

    case = proof_cases.cases(signature, (seed,), sizes, stream=proof_cases.CALIBRATION, only_first=True)[0]
    return tuple(torch.from_numpy(case.arrays[v.name]) for v in signature.inputs)


def sizes(signature: Signature, choice: int) -> dict[str, int]:
    """Returns the ``choice``-th size of every symbol. The defaults avoid 1, which exporters treat as a constant."""
    chosen: dict[str, int] = {}
    for symbol in signature.symbols():
        allowed = signature.sizes.get(symbol, (2, 3) if symbol == "batch" else (11, 14))
        chosen[symbol] = allowed[min(choice, len(allowed) - 1)]
    return chosen
