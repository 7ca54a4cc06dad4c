"""Runs a source on cases: records those that it accepts, and why it refuses the others or times out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lib.convert.core import arrays
from lib.convert.core.runner import Runner, run
from lib.convert.core.tool_messages import sanitize_message
from lib.convert.proof import cases as proof_cases
from lib.convert.proof.tolerances import EXTREME
from lib.errors import InvalidFile, LimitExceeded

Answer = dict[str, Any]
CASE_SECONDS, EXTREME_SECONDS = 60, 10  # time limits of one run; an input that takes longer counts as refused
MAX_SLOW = 2  # this many timeouts end the job


@dataclass(slots=True)
class SourceRuns:
    """A source and its runs. ``cases``: those it accepted, with their files in ``out``; ``refused``: the others, and why."""

    runner: Runner
    out: Path
    cases: list[Answer] = field(default_factory=list)
    refused: list[tuple[proof_cases.Case, str]] = field(default_factory=list)
    bytes: int = 0
    prefix: str = ""  # of file names
    slow_runs: int = 0  # timeouts on inputs that a model should handle
    timed_out: set[str] = field(default_factory=set)  # kinds of cases with a timeout

    def run(self, inputs: arrays.Arrays, seconds: float) -> arrays.Arrays:
        """Runs the source on copies, since a model may write to its inputs. Raises LimitExceeded after ``seconds``."""
        return run(self.runner, {name: value.copy() for name, value in inputs.items()}, seconds)

    def too_slow(self) -> None:
        """Raises InvalidFile from the second timeout on: a model that never ends would block a worker for every case."""
        self.slow_runs += 1
        if self.slow_runs >= MAX_SLOW:
            raise InvalidFile(
                "The model takes too long for one input, or does not end, so it cannot be compared with its conversion. "
                "Give smaller sizes."
            )

    def run_case(self, case: proof_cases.Case, label: int | None = None) -> bool:
        """Runs a case and records the result; returns whether the source accepted it."""
        file = f"{self.prefix}{len(self.cases) + len(self.refused)}.npz"
        try:
            outputs = self.run(case.arrays, EXTREME_SECONDS if case.kind in EXTREME else CASE_SECONDS)
        except MemoryError:
            raise
        except Exception as error:  # frameworks raise many kinds of errors for inputs that they refuse
            self.refused.append((case, sanitize_message(error)))
            if isinstance(error, LimitExceeded):
                self.timed_out.add(case.kind)
                if case.kind not in EXTREME:
                    self.too_slow()
            return False
        arrays.save(self.out / f"in-{file}", case.arrays)
        arrays.save(self.out / f"out-{file}", outputs)
        self.bytes += sum(v.nbytes for v in (*case.arrays.values(), *outputs.values()))
        record = {"kind": case.kind, "seed": case.seed, "sizes": case.sizes, "changed": case.changed, "label": label}
        self.cases.append(record | {"file": file})
        return True


def same_outputs(a: arrays.Arrays, b: arrays.Arrays) -> bool:
    """Whether two runs on the same inputs agree, up to rounding from the order in which threads add."""
    from lib.convert.proof.measures import kind, peak, wide

    for name, left in a.items():
        right = b.get(name)
        if right is None or left.shape != right.shape:
            return False
        if kind(left) in "iubO":
            if not bool(np.all(left == right)):
                return False
        elif left.size and not np.allclose(wide(left), wide(right), rtol=0, atol=1e-4 * peak(left), equal_nan=True):
            return False
    return True
