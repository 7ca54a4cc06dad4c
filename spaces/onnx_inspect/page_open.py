"""The open part of the page: files, examples, summary, downloads of the report, and the button to the Convert tab."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from lib.errors import InvalidFile, WorkbenchError
from lib.jobs import Job
from lib.onnx_inspect.catalogue import DESCRIPTIONS
from lib.onnx_inspect.report import incomplete
from web.cards import failed, idle
from web.folders import plain
from web.handover import Offer
from web.html import Html, html

from . import formats, view
from .page_shared import QUIET, Shared, Updates, Values, report_of, require_open, save
from .subject import Subject, uploaded

BROKEN = Markup('<i class="mw-open-failed"></i>')  # makes the CSS dim the parts about the previous model
Show = Callable[[Subject, dict[str, Any]], Updates]


class Opening:
    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.pair = gr.State(None)  # paths of two dropped models, to compare them
        with gr.Row(elem_classes="mw-columns"):
            with gr.Column(scale=4, min_width=300):
                self.files = gr.File(
                    label="Model: .onnx (with its external data) or .tflite",
                    file_count="multiple",
                    type="filepath",
                    height=150,
                )
                self.examples = gr.Dataset(
                    components=[gr.Textbox(visible=False)],
                    samples=[[name] for name in DESCRIPTIONS],
                    type="index",
                    label="Or try an example",
                    elem_id="onnx-examples",
                )
                with gr.Row():
                    shared.stop.render()
                    options: dict[str, Any] = {"size": "sm", "interactive": False, "min_width": 70}
                    self.as_json = gr.DownloadButton("Report .json", **options)
                    self.as_markdown = gr.DownloadButton("Report .md", **options)
                with gr.Row():
                    self.convert = gr.Button(
                        "Open in Convert", size="sm", visible=False, min_width=120, elem_id="onnx-convert"
                    )
                    self.again = gr.Button("Show the open model", size="sm", visible=False, min_width=120)
            with gr.Column(scale=7, min_width=320):
                self.summary = Html(idle(view.IDLE), padding=False, elem_id="onnx-summary")
                self.member = gr.Radio(visible=False, label="Model in this bundle", elem_id="onnx-member")
                with gr.Row(visible=False, elem_classes="mw-own") as self.two:
                    self.two_words = Html(padding=False)
                    self.compare = gr.Button("Compare them", size="sm", min_width=130, scale=0)
        self.offer = Offer("onnx", self.convert, shared.subject, _for_convert, "convert")
        self.reports = [self.as_json, self.as_markdown]
        self.counted = [self.summary, *self.reports]
        self.outputs = [
            *self.counted,
            self.files,
            self.member,
            self.convert,
            self.again,
            self.two,
            self.two_words,
            self.pair,
        ]

    def count(self, now: Subject, report: dict[str, Any]) -> Updates:
        """Save the report and return the updates that depend on the sizes."""
        paths = save(now, report)
        buttons = [gr.DownloadButton(value=path, interactive=True) for path in paths]
        return {self.summary: view.summary(report)} | dict(zip(self.reports, buttons, strict=True))

    def show(self, now: Subject, report: dict[str, Any]) -> Updates:
        now.missing = list(report["missing"]) if incomplete(report) else []
        bundle = report.get("bundle") or {"member": "", "members": []}
        now.member, names = bundle["member"], [member["name"] for member in bundle["members"]]
        return self.count(now, report) | {
            self.member: gr.Radio(choices=names, value=now.member or None, visible=len(names) > 1),
            self.convert: gr.Button(visible=self.offer.taken and not now.missing),
            self.again: gr.Button(visible=False),
            self.two: gr.Row(visible=False),
            self.pair: None,
        }

    def failure(self, error: WorkbenchError, word: str, before: Subject | None) -> Updates:
        """Return the updates after a failure: the previous model stays open but dimmed, its report buttons are disabled."""
        card = failed(error, word, before.name if before else "")
        updates: Updates = {self.summary: card + BROKEN if before else card, self.two: gr.Row(visible=False)}
        disabled = [gr.DownloadButton(interactive=False) for _ in self.reports]
        return updates | dict(zip(self.reports, disabled, strict=True)) | {self.again: gr.Button(visible=before is not None)}

    async def follow(
        self,
        show: Show,
        now: Subject,
        before: Subject | None,
        ask: Callable[[], Job],
        http: gr.Request,
        failure: str = "not opened",
    ) -> Values:
        """Yield progress, then the updates of the whole page for ``now``. After a failure the previous model stays open."""
        opened = False
        self.shared.under_way.stop(http)  # results of the previous model must not appear under the new one
        try:
            async for answer in self.shared.follow("open", ask, http):
                if isinstance(answer, str):
                    yield {self.summary: answer}
                else:
                    # a report of 50,000 nodes is 25 MB: not in the event loop
                    updates = await asyncio.to_thread(show, now, answer)
                    opened = True
                    self.shared.visit.keep(http, now)  # replaces the previous one
                    yield updates
        except WorkbenchError as error:
            yield self.failure(error, failure, before)
        finally:
            if not opened:
                now.close()

    def connect(self, show: Show, everything: list[Any]) -> None:
        shared, bench = self.shared, self.shared.bench

        async def open_files(paths: list[str] | None, before: Subject | None, http: gr.Request) -> Values:
            onnx = [p for p in paths or [] if formats.is_model(p)]
            kept = before.externals.values() if before is not None and onnx and onnx[-1] != before.model else ()
            others = [p for p in paths or [] if p not in onnx and p not in kept]  # without the previous model's data
            folder = bench.folders.new()
            try:
                if paths and not onnx and before is not None and _is_missing_data(before, others):
                    now = await asyncio.to_thread(_with_missing_data, before, others, folder)
                else:
                    now = uploaded([*others, *onnx[-1:]])  # the last of several models
            except InvalidFile as error:
                shutil.rmtree(folder, ignore_errors=True)
                yield self.failure(error, "not opened", before)
                return
            now.out = folder
            async for values in self.follow(show, now, before, lambda: bench.inspect(now, {}), http):
                if shared.subject in values:
                    values |= {self.files: now.uploaded_paths() or None} | self._two(onnx, others, before)
                yield values

        async def open_handed(paths: list[str], before: Subject | None, http: gr.Request) -> Values:
            """Open copies of the files, since the other tab may remove them at any time."""
            folder = bench.folders.new()
            try:
                kept = [await asyncio.to_thread(shutil.copy, path, folder) for path in paths]
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)
                raise gr.Error("This model is no longer available. Convert it again.", print_exception=False) from None
            now = uploaded(kept)
            now.out = folder
            async for values in self.follow(show, now, before, lambda: bench.inspect(now, {}), http):
                yield values | {self.files: None} if shared.subject in values else values

        async def open_example(index: int, before: Subject | None, http: gr.Request) -> Values:
            name, folder = list(DESCRIPTIONS)[index], bench.folders.new()
            now = Subject(str(Path(folder) / "model.onnx"), f"{name}.onnx", out=folder)
            async for values in self.follow(show, now, before, lambda: bench.example(name, folder), http):
                yield values | {self.files: None} if shared.subject in values else values

        async def show_again(now: Subject | None) -> Updates:
            model = require_open(now)
            updates = await asyncio.to_thread(show, model, await report_of(model))
            return updates | {self.files: model.uploaded_paths() or None}

        async def open_member(name: str, before: Subject | None, http: gr.Request) -> Values:
            model, folder = require_open(before), bench.folders.new()
            now = Subject(model.model, model.name, out=folder, member=name)
            async for values in self.follow(show, now, before, lambda: bench.inspect(now, {}), http):
                yield values | {self.files: now.uploaded_paths() or None} if shared.subject in values else values

        self.open_handed = open_handed
        shared.on([self.member.input], open_member, [self.member, shared.subject], everything)
        shared.on([self.files.upload], open_files, [self.files, shared.subject], everything)
        shared.on([self.examples.click], open_example, [self.examples, shared.subject], everything)
        self.again.click(show_again, shared.subject, everything, **QUIET)

    def _two(self, onnx: list[str], others: list[str], before: Subject | None) -> Updates:
        if len(onnx) < 2 or formats.TFLITE in map(formats.of, onnx[-2:]):
            return {}
        old, new = onnx[-2:]
        old_data = list(before.externals.values()) if before is not None and before.model == old else others
        text = html("<b>{}</b> is open. You also dropped <b>{}</b>.", Path(new).name, Path(old).name)
        return {
            self.two: gr.Row(visible=True),
            self.two_words: html('<p class="mw-graph-line" role="status">{}</p>', text),
            self.pair: [[old, *old_data], [new, *others]],
        }


def _is_missing_data(before: Subject, paths: list[str]) -> bool:
    """Return whether one of the files is missing external data of the open model."""
    return bool(before.missing) and any(Path(p).name in before.missing for p in paths)


def _with_missing_data(before: Subject, paths: list[str], out: str) -> Subject:
    """Return the open model with more external data. Files in its folder are copied, since the folder will be removed."""
    model = before.model
    if before.out and Path(model).is_relative_to(before.out):
        model = shutil.copy(model, out)
    externals = {name: path for name, path in before.externals.items() if Path(path).is_file()}
    for name, path in externals.items():
        if before.out and Path(path).is_relative_to(before.out):
            externals[name] = shutil.copy(path, out)
    return Subject(model, before.name, externals | {Path(p).name: p for p in paths})


def _for_convert(now: Subject | None) -> list[str]:
    """Return the paths of the open model. The model gets its own name, as models built here are stored as model.onnx."""
    model = require_open(now)
    path = Path(model.model)
    if not path.is_file():
        raise gr.Error("This model is no longer available. Open it again.", print_exception=False)
    display_name, suffix = Path(model.name), f".{model.format}"
    if model.member:
        path, display_name = Path(plain(model.out, "member.tflite") or path), Path(model.member)
    if path.name != f"{display_name.stem}{suffix}" and model.out:
        folder = Path(tempfile.mkdtemp(dir=model.out))
        name = "".join(c if c.isalnum() or c in "-_. " else "-" for c in display_name.stem)[:100] or "model"
        named = folder / f"{name}{suffix}"
        with suppress(OSError):
            os.link(path, named)
        path = named if named.is_file() else Path(shutil.copy(path, named))
    return [str(path), *model.externals.values()]
