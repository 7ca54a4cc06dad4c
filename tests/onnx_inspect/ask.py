"""Asks the inspector through real jobs, and what every answer must be like."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from lib.errors import JobFailed, LimitExceeded, WorkbenchError
from lib.jobs import Jobs, Limits

SMALL = Limits(memory_mb=1500, cpu_seconds=60, wall_seconds=20, file_mb=512)
MACHINE = re.compile(r"(?<![\w.])/(tmp|work|root|home|usr)\b|Traceback|\.py\b|onnxruntime_src")
Answer = dict[str, Any] | WorkbenchError


def ask(jobs: Jobs, task: str, limits: Limits = SMALL, **arguments: Any) -> Answer:
    """The answer of ``task`` or its error; either is one that a visitor may see."""
    try:
        answer: Answer = jobs.submit(f"lib.onnx_inspect.tasks:{task}", arguments, limits=limits).result()
    except WorkbenchError as error:
        answer = error
    text = answer.message if isinstance(answer, WorkbenchError) else json.dumps(answer, allow_nan=False)
    found = MACHINE.search(text)
    assert not found, text[max(0, found.start() - 200) : found.end() + 200]
    if isinstance(answer, WorkbenchError):
        assert 15 < len(text) <= 2000, text
        # a real crash of native code, or a limit; an exception of ours is a bug
        assert type(answer) is not JobFailed or "crashed (signal" in text, text
    return answer


def limited(answer: Answer) -> bool:
    return isinstance(answer, LimitExceeded)


def files(folder: Path) -> dict[str, bytes]:
    """Everything under ``folder`` but what is under ``out``."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and "out" not in p.parts}
