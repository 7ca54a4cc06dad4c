"""Sizes of the dynamic dimensions that a source accepts: as given, from the samples, or found by trying."""

from __future__ import annotations

from lib.convert.core.tool_messages import sanitize_message
from lib.convert.proof import cases as proof_cases
from lib.convert.worker.source_runs import SourceRuns
from lib.errors import LimitExceeded
from lib.model_inputs import sizes as dimensions
from lib.model_inputs.dimensions import is_rate
from lib.model_inputs.signature import Signature

SEARCH_SECONDS = 20  # of one try
OTHER_RATE = 8000  # hertz: telephones, beside 16000


def find_sizes(
    runs: SourceRuns, signature: Signature, sizes: dict[str, int], real: dict[str, int], seeds: list[int]
) -> dimensions.SizeSearch:
    """Sizes as given, else from the samples, else by trying; and a second choice for those that were not given."""
    if not real:
        return _search(runs, signature, sizes, seeds)
    found, free = _search(runs, signature, sizes | real, seeds), _search(runs, signature, sizes, seeds)
    if not found.accepted:
        return free
    found.second = next((s for s in (found.second, free.sizes, free.second) if s and s != found.sizes), None)
    found.note = f"Sizes: {dimensions.sizes_text(found.sizes)}, as the samples have them."
    return found


def run_other_rate(runs: SourceRuns, signature: Signature, fixed: dict[str, int], seed: int) -> None:
    """Runs a case of another sample rate. It needs other sizes, and models often have a branch for it."""
    rates = {v.name: (OTHER_RATE, OTHER_RATE) for v in signature.inputs if is_rate(v)}
    if rates and (found := _search(runs, signature, fixed, [seed], rates)).accepted:
        made = proof_cases.cases(signature, (seed,), found.sizes, ranges=found.integers | rates, only_first=True)[0]
        runs.run_case(proof_cases.Case("alone", seed, found.sizes, made.arrays, next(iter(rates))))


def _search(
    runs: SourceRuns,
    signature: Signature,
    fixed: dict[str, int],
    seeds: list[int],
    stated: dict[str, tuple[int, int]] | None = None,
) -> dimensions.SizeSearch:
    """``stated``: values of integer inputs that are not searched for."""

    def accepts(sizes: dict[str, int], ranges: dict[str, tuple[int, int]]) -> str:
        made = proof_cases.cases(signature, (seeds[0],), sizes, ranges=ranges | (stated or {}), only_first=True)[0]
        try:
            runs.run(made.arrays, SEARCH_SECONDS)
        except MemoryError:
            raise
        except LimitExceeded as error:
            runs.too_slow()
            return sanitize_message(error)
        except Exception as error:
            return sanitize_message(error)
        return ""

    if not signature.inputs:
        return dimensions.SizeSearch({})
    return dimensions.search(signature, fixed, accepts, integers_too=True)
