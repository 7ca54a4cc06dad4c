"""The tab's questions as jobs: each method takes what a visitor gave and queues the child that answers."""

from __future__ import annotations

from typing import Any

from lib.jobs import Job, Jobs, Limits
from web.folders import Folders

from .subject import PREFIX, Subject

TASKS = "lib.onnx_inspect.tasks"


class Bench:
    """Shared by the page and the API, so both ask the same way."""

    def __init__(self, jobs: Jobs, limits: Limits) -> None:
        self.jobs, self.limits, self.folders = jobs, limits, Folders(PREFIX)

    def _ask(self, task: str, **arguments: Any) -> Job:
        return self.jobs.submit(f"{TASKS}:{task}", arguments, limits=self.limits)

    def inspect(self, subject: Subject, symbols: dict[str, int]) -> Job:
        return self._ask("inspect", **subject.files(), name=subject.name, symbols=symbols, out=subject.out or None)

    def example(self, name: str, out: str) -> Job:
        return self._ask("example", name=name, out=out)

    def run(
        self,
        subject: Subject,
        inputs: str | None,
        seed: int,
        runs: int,
        symbols: dict[str, int],
        values: dict[str, Any] | None = None,
        samples: dict[str, Any] | None = None,
    ) -> Job:
        given = {"inputs": inputs, "values": values, "samples": samples, "symbols": symbols}
        return self._ask("execute", **subject.files(), **given, seed=seed, runs=runs, out=subject.out or None)

    def weights(self, subject: Subject, tensor: str) -> Job:
        return self._ask("tensor", **subject.files(), tensor=tensor)

    def build(self, text: str, out: str) -> Job:
        return self._ask("from_text", text=text, out=out)

    def show(self, subject: Subject) -> Job:
        return self._ask("as_text", **subject.files())

    def compare(self, old: Subject, new: Subject, rtol: float, atol: float) -> Job:
        files = {"old": old.model, "old_externals": old.externals, "new": new.model, "new_externals": new.externals}
        return self._ask("difference", **files, rtol=rtol, atol=atol)
