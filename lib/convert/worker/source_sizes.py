"""Finds sizes of the dynamic dimensions that a source accepts: as given, from the samples, or by trial."""

from __future__ import annotations

from lib.convert.core.tool_messages import sanitize_message
from lib.convert.proof import cases as proof_cases
from lib.convert.worker.source_runs import SourceRuns
from lib.errors import LimitExceeded
from lib.model_inputs import sizes as dimensions
from lib.model_inputs.dimensions import is_rate
from lib.model_inputs.signature import Signature

SEARCH_SECONDS = 20  # time limit of one trial
OTHER_RATE = 8000  # Hz, telephone audio; tried besides 16000


def find_sizes(
    runs: SourceRuns, signature: Signature, sizes: dict[str, int], real: dict[str, int], seeds: list[int]
) -> dimensions.SizeSearch:
    """Returns sizes as given, else from the samples, else by trial; and a second choice for those not given."""
    if not real:
        return _search(runs, signature, sizes, seeds)
    search, without_samples = _search(runs, signature, sizes | real, seeds), _search(runs, signature, sizes, seeds)
    if not search.accepted:
        return without_samples
    search.second = next(
        (s for s in (search.second, without_samples.sizes, without_samples.second) if s and s != search.sizes), None
    )
    search.note = f"Sizes: {dimensions.sizes_text(search.sizes)}, as the samples have them."
    return search


def run_other_rate(runs: SourceRuns, signature: Signature, fixed: dict[str, int], seed: int) -> None:
    """Runs a case at another sample rate, since models often branch on it. It needs sizes of its own."""
    rates = {v.name: (OTHER_RATE, OTHER_RATE) for v in signature.inputs if is_rate(v)}
    if rates and (search := _search(runs, signature, fixed, [seed], rates)).accepted:
        case = proof_cases.cases(signature, (seed,), search.sizes, ranges=search.integers | rates, only_first=True)[0]
        runs.run_case(proof_cases.Case("alone", seed, search.sizes, case.arrays, next(iter(rates))))


def _search(
    runs: SourceRuns,
    signature: Signature,
    fixed: dict[str, int],
    seeds: list[int],
    stated: dict[str, tuple[int, int]] | None = None,
) -> dimensions.SizeSearch:
    """Searches for accepted sizes and integer ranges. ``stated``: ranges of integer inputs that are already known."""

    def accepts(sizes: dict[str, int], ranges: dict[str, tuple[int, int]]) -> str:
        case = proof_cases.cases(signature, (seeds[0],), sizes, ranges=ranges | (stated or {}), only_first=True)[0]
        try:
            runs.run(case.arrays, SEARCH_SECONDS)
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
