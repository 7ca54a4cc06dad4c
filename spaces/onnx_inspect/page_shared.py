"""What the parts of the page share: the open model, its jobs, its saved report, and the registration of handlers."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import gradio as gr

from lib.errors import InvalidFile
from lib.jobs import Job, Result
from lib.onnx_inspect.markdown import markdown
from lib.tflite_inspect.markdown import markdown as tflite_markdown
from web.cards import progress
from web.page_jobs import PageJobs
from web.stop_button import listen
from web.temporary_files import TemporaryFiles
from web.visit import Visit

from .bench import Bench
from .formats import TFLITE
from .subject import Subject

Updates = dict[Any, Any]
Values = AsyncIterator[Updates]
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}


class Shared:
    """``subject`` is the open model, or None. It is kept on the server, so that no visitor can open another's files."""

    def __init__(self, bench: Bench, shelf: TemporaryFiles, visit: Visit) -> None:
        self.bench, self.shelf, self.visit = bench, shelf, visit
        self.subject = gr.State(None)
        self.under_way = PageJobs()
        self.stop = gr.Button("Stop", variant="stop", size="sm", interactive=False, min_width=70, render=False)

    async def follow(self, kind: str, ask: Callable[[], Job], http: gr.Request) -> AsyncIterator[str | dict[str, Any]]:
        """Yield progress as HTML, then the answer."""
        async for event in self.under_way.follow(kind, ask, http):
            yield event.value if isinstance(event, Result) else progress(event.stage, event.share)

    def on(self, triggers: list[Any], fn: Callable[..., Any], given: Any, outputs: Any) -> Any:
        """Register a handler that may take long. The Stop button is enabled while it runs."""
        return listen(self.stop, self.under_way.busy, triggers, fn, given, outputs, **QUIET)


def save(now: Subject, report: dict[str, Any]) -> tuple[str, str]:
    """Write the report as .json and .md. Returns their paths."""
    folder = Path(tempfile.mkdtemp(dir=now.out))  # a name that the child process cannot predict
    stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in Path(now.name).stem)[:60] or "model"
    now.report, markdown_path = str(folder / f"{stem}.report.json"), folder / f"{stem}.report.md"
    Path(now.report).write_text(json.dumps(report, indent=1))
    markdown_path.write_text((tflite_markdown if report["format"] == TFLITE else markdown)(report))
    return now.report, str(markdown_path)


async def report_of(now: Subject) -> dict[str, Any]:
    """Read the latest report of the open model, up to 25 MB, in a thread. Raises InvalidFile if the file is gone."""
    try:
        return await asyncio.to_thread(lambda: json.loads(Path(now.report).read_text()))
    except (OSError, ValueError):
        raise InvalidFile("This model is no longer available. Open it again.") from None


def require_open(now: Subject | None, words: str = "Open a model first.") -> Subject:
    """Return ``now``. Raises gr.Error if no model is open."""
    if now is None:
        raise gr.Error(words, print_exception=False)
    return now


def table(columns: list[str], datatypes: list[str], label: str, **options: Any) -> gr.Dataframe:
    return gr.Dataframe(
        headers=columns,
        datatype=datatypes,
        label=label,
        interactive=False,
        show_search="filter",
        max_height=460,
        elem_classes="mw-table",
        **options,
    )
