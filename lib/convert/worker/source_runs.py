"""Runs a source on cases: records those that it accepts, and why it refuses or times out on others."""

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
CASE_SECONDS, EXTREME_SECONDS = 60, 10  # of one run; an input that takes longer counts as refused
MAX_SLOW = 2  # runs that take too long


@dataclass(slots=True)
class SourceRuns:
    """``cases``: accepted by the source, with their files in ``out``; ``refused``: the others, and why."""

    runner: Runner
    out: Path
    cases: list[Answer] = field(default_factory=list)
    refused: list[tuple[proof_cases.Case, str]] = field(default_factory=list)
    bytes: int = 0
    prefix: str = ""  # of the files' names
    slow_runs: int = 0  # runs that took too long, of inputs that a model should take
    timed_out: set[str] = field(default_factory=set)  # kinds of cases of which one took too long

    def run(self, inputs: arrays.Arrays, seconds: float) -> arrays.Arrays:
        """On copies, since a model may write into its inputs."""
        return run(self.runner, {name: value.copy() for name, value in inputs.items()}, seconds)

    def too_slow(self) -> None:
        """Raises InvalidFile the second time: a model that never ends would block a worker for every case."""
        self.slow_runs += 1
        if self.slow_runs >= MAX_SLOW:
            raise InvalidFile(
                "The model takes too long for one input, or does not end, so it cannot be compared with what is made of it. "
                "Give smaller sizes."
            )

    def run_case(self, case: proof_cases.Case, label: int | None = None) -> bool:
        file = f"{self.prefix}{len(self.cases) + len(self.refused)}.npz"
        try:
            outputs = self.run(case.arrays, EXTREME_SECONDS if case.kind in EXTREME else CASE_SECONDS)
        except MemoryError:
            raise
        except Exception as error:  # frameworks raise all kinds of errors for inputs that they refuse
            self.refused.append((case, sanitize_message(error)))
            if isinstance(error, LimitExceeded):
                self.timed_out.add(case.kind)
                if case.kind not in EXTREME:
                    self.too_slow()
            return False
        arrays.save(self.out / f"in-{file}", case.arrays)
        arrays.save(self.out / f"out-{file}", outputs)
        self.bytes += sum(v.nbytes for v in (*case.arrays.values(), *outputs.values()))
        about = {"kind": case.kind, "seed": case.seed, "sizes": case.sizes, "changed": case.changed, "label": label}
        self.cases.append(about | {"file": file})
        return True


def same_outputs(a: arrays.Arrays, b: arrays.Arrays) -> bool:
    """Whether two runs on the same inputs agree, up to the order of additions among threads."""
    from lib.convert.proof.measures import kind, peak, wide

    for name, one in a.items():
        two = b.get(name)
        if two is None or one.shape != two.shape:
            return False
        if kind(one) in "iubO":
            if not bool(np.all(one == two)):
                return False
        elif one.size and not np.allclose(wide(one), wide(two), rtol=0, atol=1e-4 * peak(one), equal_nan=True):
            return False
    return True
