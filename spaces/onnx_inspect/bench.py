"""Submit the tab's tasks as jobs that run in child processes.

The file's format selects the library (ONNX or TensorFlow Lite). Both use the same arguments and keys for the same things.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.errors import InvalidFile
from lib.jobs import Job, Jobs, Limits
from web.folders import Folders

from .formats import ONNX, TFLITE
from .subject import PREFIX, Subject

TASKS = {ONNX: "lib.onnx_inspect.tasks", TFLITE: "lib.tflite_inspect.tasks"}


class Bench:
    """Job submission shared by the page, the Gradio API and REST."""

    def __init__(self, jobs: Jobs, limits: Limits) -> None:
        self.jobs, self.limits, self.folders = jobs, limits, Folders(PREFIX)

    def _ask(self, format_: str, task: str, **arguments: Any) -> Job:
        return self.jobs.submit(f"{TASKS[format_]}:{task}", arguments, limits=self.limits)

    def inspect(self, subject: Subject, symbols: dict[str, int]) -> Job:
        sizes = {"symbols" if subject.format == ONNX else "sizes": symbols}
        arguments = subject.files() | sizes | {"name": subject.name, "out": subject.out or None}
        return self._ask(subject.format, "inspect", **arguments)

    def example(self, name: str, out: str) -> Job:
        return self._ask(ONNX, "example", name=name, out=out)

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
        arguments = {"inputs": inputs, "values": values, "samples": samples, "seed": seed, "runs": runs}
        arguments |= {"symbols" if subject.format == ONNX else "sizes": symbols, "out": subject.out or None}
        return self._ask(subject.format, "execute", **subject.files(), **arguments)

    def weights(self, subject: Subject, tensor: str) -> Job:
        return self._ask(subject.format, "tensor", **subject.files(), tensor=tensor)

    def edit(self, subject: Subject, changes: dict[str, Any], target: str, out: str) -> Job:
        """Write the file with changed metadata to ``target`` and report on it. Raises InvalidFile unless it is a .tflite."""
        if subject.format != TFLITE:
            raise InvalidFile(
                "Only TensorFlow Lite files have metadata, and this is not one. Send a .tflite; Convert makes one from ONNX."
            )
        return self._ask(
            TFLITE, "edit", **subject.files(), name=Path(target).name, changes=changes, target=target, out=out or None
        )

    def build(self, text: str, out: str) -> Job:
        return self._ask(ONNX, "from_text", text=text, out=out)

    def show(self, subject: Subject) -> Job:
        _only_onnx(subject, "shown as text")
        return self._ask(ONNX, "as_text", **subject.files())

    def compare(self, old: Subject, new: Subject, rtol: float, atol: float) -> Job:
        for subject in (old, new):
            _only_onnx(subject, "compared")
        files = {"old": old.model, "old_externals": old.externals, "new": new.model, "new_externals": new.externals}
        return self._ask(ONNX, "difference", **files, rtol=rtol, atol=atol)


def _only_onnx(subject: Subject, what: str) -> None:
    if subject.format != ONNX:
        raise InvalidFile(f"{subject.name!r} is a TensorFlow Lite file; only ONNX models can be {what}.")
