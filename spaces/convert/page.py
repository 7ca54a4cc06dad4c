"""The tab's page: a source and options in, verdict and files out. Knows no format and no tool.

Options are widgets made once, one for each option that any conversion takes; choosing a target shows those of
its route.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache

from lib.convert.convert import Converter
from lib.errors import WorkbenchError
from lib.jobs import Result
from web.cards import failed, idle, progress
from web.folders import Folders
from web.handover import Offer, Opener
from web.stop import listen
from web.under_way import UnderWay
from web.visit import Arrival, Visit

from . import hub, view
from .subject import WHOLE, Opened, Outcome, Specs, Work, seeds, source, specs

Values = AsyncIterator[Any]
EXAMPLES = {  # sources for a first look, by what a visitor calls them
    "torchvision:mobilenet_v3_small": "MobileNetV3",
    "torchvision:resnet18": "ResNet-18",
    "diffusers:tiny-scenes": "Stable Diffusion, small",
    "diffusers:tiny-scenes/unet": "its UNet",
    "jax:attention": "JAX attention",
}


def build(converter: Converter, folders: Folders, visit: Visit) -> tuple[Opener, Offer]:
    """The way in for ONNX files of another tab, and the offer of ONNX results to others, are returned."""
    opened = gr.State(None)
    outcome = gr.State(None)  # its folder goes when visit lets it go
    under_way = UnderWay()
    known, names = specs(converter.conversions()), [name for group in converter.names().values() for name in group]

    with gr.Row(elem_classes="mw-columns"):
        with gr.Column(scale=4, min_width=300):
            files = gr.File(
                label="Model (one file, or all of its files)", file_count="multiple", type="filepath", height=150
            )
            name = gr.Dropdown(
                [("–", ""), *names],  # Enter in an empty box takes the first
                value=None,
                label="Or an architecture by name",
                info="choose or type one; weights dropped above go into it",
                allow_custom_value=True,
                elem_id="convert-name",
            )
            samples = [sample for sample in EXAMPLES if sample in names]
            examples = gr.Dataset(
                components=[gr.Textbox(visible=False)],
                samples=[[sample] for sample in samples],
                sample_labels=[EXAMPLES[sample] for sample in samples],
                type="index",
                label="For example",
                elem_id="convert-examples",
            )
        with gr.Column(scale=7, min_width=320):
            about = gr.HTML(idle(view.IDLE), padding=False, elem_id="convert-about")

    with gr.Column(visible=False) as work:
        with gr.Row(elem_classes="mw-columns"):
            with gr.Column(scale=6, min_width=300):
                target = gr.Radio([], label="What it can become here", elem_id="convert-targets")
                cannot = gr.HTML(padding=False)
            with gr.Column(scale=5, min_width=300):
                way = gr.HTML(padding=False)
                widgets = {option: _widget(spec) for option, spec in known.items()}
                with gr.Accordion("The proof", open=False):
                    numbers = gr.Textbox(
                        label="Seeds", placeholder="0, 1, 2", info="three or more whole numbers; inputs are made from them"
                    )
                    anyway = gr.Checkbox(
                        label="Give me the file anyway", info="also one that failed; its name then says .unproven"
                    )
                with gr.Row():
                    start = gr.Button("Convert", variant="primary", scale=2, min_width=120, elem_id="convert-start")
                    stop = gr.Button("Stop", variant="stop", interactive=False, scale=1, min_width=70)

    said = gr.HTML(padding=False, elem_id="convert-verdict")
    with gr.Row(visible=False) as taking:
        artifact = gr.DownloadButton("Download the model", variant="primary", interactive=False, min_width=160)
        package = gr.DownloadButton("Download with report (.zip)", interactive=False, min_width=160)
        look_inside = gr.Button("Open in the inspector", visible=False, min_width=160)
    with gr.Tabs(visible=False, elem_classes="mw-inner", overflow_behavior="wrap") as details:
        with gr.Tab("Errors"):
            errors = gr.HTML(padding=False, elem_id="convert-errors")
        with gr.Tab("Steps"):
            steps = gr.HTML(padding=False)
        with gr.Tab("Size and speed"):
            sizes = gr.HTML(padding=False, elem_id="convert-sizes")
        with gr.Tab("Messages"):
            messages = gr.HTML(padding=False)
        with gr.Tab("Report"):
            report = gr.JSON(label="report.json", max_height=480)
    sign_in = hub.can_sign_in()
    if sign_in:
        with gr.Accordion("Push to the Hub", open=False):
            gr.LoginButton(size="sm")
            with gr.Row():
                repository = gr.Textbox(label="Repository", placeholder="you/model", min_width=200)
                place = gr.Textbox(label="Folder in it", placeholder="the top", min_width=120)
                how = gr.Radio([hub.NEW, hub.PULL], value=hub.NEW, label="As", min_width=200)
            with gr.Row():
                private = gr.Checkbox(True, label="Private", info="only for a new repository")
                push_anyway = gr.Checkbox(label="Push it although it is not proven")
                push_button = gr.Button("Push", min_width=120)
            pushed = gr.HTML(padding=False, elem_id="convert-pushed")
    with gr.Accordion("Everything this installation can convert", open=False) as everything:
        table = gr.HTML(padding=False, elem_id="convert-table")

    offer = Offer("onnx", look_inside, outcome, _onnx_files)
    results = [outcome, said, taking, artifact, package, look_inside, details, errors, steps, sizes, messages, report]
    chosen = [way, start, *widgets.values()]
    page = [opened, about, work, target, cannot, files, name, *chosen, *results]

    def nothing(words: str = "") -> dict[Any, Any]:
        """No result, or none yet."""
        return {outcome: None, said: words, taking: gr.Row(visible=False), details: gr.Tabs(visible=False)}

    def settle(now: Opened | None, choice: str | None, kept: dict[str, Any] | None = None) -> dict[Any, Any]:
        """The route to the target, and the options of that route only, as ``kept`` or at their defaults."""
        aim = now.target(choice) if now else None
        wanted: Specs = {o["name"]: o for o in (aim or {}).get("options", [])}
        shown = {w: _update(wanted.get(o), known[o], (kept or {}).get(o)) for o, w in widgets.items()}
        return shown | {way: view.route(aim) if aim else "", start: gr.Button(interactive=aim is not None)}

    def describe(now: Opened, choice: str | None = None, kept: dict[str, Any] | None = None) -> dict[Any, Any]:
        """The page about ``now``, with ``choice`` as its target where there is such a one."""
        targets = now.about.get("targets", [])
        first = targets[0]["target"] if targets else None
        if now.target(choice) is not None:
            first = choice
        blocked = view.blocked(now.about.get("blocked") or {})
        none = "" if targets else idle("Nothing can be made of it in this installation.")
        choices = [(view.choice(t), t["target"]) for t in targets]
        return settle(now, first, kept) | nothing() | {
            opened: now,
            about: view.about(now.about, now.source.name or next(iter(now.source.files), "")),
            work: gr.Column(visible=True),
            target: gr.Radio(choices, value=first, visible=bool(targets)),
            cannot: none + blocked,
        }  # fmt: skip

    async def look(paths: list[str] | None, called: str | None, fresh: str, http: gr.Request) -> Values:
        """``fresh`` says what has just been given: with it goes what cannot belong to it.

        Nothing else is written into the two boxes: something new may be on its way into them.
        """
        under_way.stop(http)
        again: dict[Any, Any] = {files: None, name: called} if fresh == "example" else {}
        if called and any(Path(p).suffix.lower() in WHOLE for p in paths or []):
            again = {files: None} if fresh == "name" else {name: None}
            paths, called = (None, called) if fresh == "name" else (paths, None)
        visit.keep(http, None)
        if not paths and not (called or "").strip():
            yield nothing() | again | {opened: None, about: idle(view.IDLE), work: gr.Column(visible=False)}
            return
        try:
            given = source(paths, called)
            async for event in under_way.follow("look", lambda: converter.describe(given), http):
                if isinstance(event, Result):
                    now = Opened(given, event.value)
                    visit.keep(http, Work(now))
                    yield describe(now) | again
                else:
                    yield nothing() | {
                        about: progress(event.stage, event.share),
                        work: gr.Column(visible=False),
                        opened: None,
                    }
        except WorkbenchError as error:
            yield nothing() | again | {opened: None, about: failed(error, "not opened"), work: gr.Column(visible=False)}

    async def look_at_files(paths: list[str] | None, called: str | None, http: gr.Request) -> Values:
        async for values in look(paths, called, "files", http):
            yield values

    async def look_at_name(paths: list[str] | None, called: str | None, http: gr.Request) -> Values:
        async for values in look(paths, called, "name", http):
            yield values

    async def look_at_example(chosen: int, http: gr.Request) -> Values:
        async for values in look(None, samples[chosen], "example", http):
            yield values

    async def look_at_handed(paths: list[str], http: gr.Request) -> Values:
        """A copy among gradio's uploads, which it removes in time like them."""
        try:
            kept = [await asyncio.to_thread(save_file_to_cache, path, files.GRADIO_CACHE) for path in paths]
        except OSError:
            raise gr.Error("That model is no longer there. Please make it again.", print_exception=False) from None
        async for values in look(kept, None, "files", http):
            yield values | {files: kept, name: None}

    def show(now: Outcome) -> dict[Any, Any]:
        found = now.report
        takes = bool(offer.taken and now.onnx and now.onnx_files())
        return {
            outcome: now,
            said: view.verdict(found, now.withheld),
            taking: gr.Row(visible=not now.withheld),
            artifact: gr.DownloadButton(value=now.artifact, interactive=now.artifact is not None),
            package: gr.DownloadButton(value=now.package, interactive=now.package is not None),
            look_inside: gr.Button(visible=takes),
            details: gr.Tabs(visible=True),
            errors: view.outputs(found),
            steps: view.steps(found),
            sizes: view.sizes(found),
            messages: view.messages(found),
            report: found,
        }

    async def go(  # gradio names endpoints by their functions, and /convert is the API's
        now: Opened | None, choice: str | None, words: str | None, even: bool | None, http: gr.Request, *given: Any
    ) -> Values:
        aim = now.target(choice) if now else None
        if now is None or aim is None:
            raise gr.Error("Choose a model and what it is to become.", print_exception=False)
        visit.keep(http, Work(now))
        folder, done = folders.new(), False
        try:
            wanted = {o["name"] for o in aim.get("options", [])}
            options = {o: v for o, v in zip(widgets, given, strict=True) if o in wanted and v is not None and v != ""}
            if even:
                options["anyway"] = True
            if (some := seeds(words)) is not None:
                options["seeds"] = some
            ask = converter.convert
            async for event in under_way.follow("convert", lambda: ask(now.source, choice, options, Path(folder)), http):
                if not isinstance(event, Result):
                    yield nothing(progress(event.stage, event.share))
                    continue
                end = Outcome.of(folder, event.value)
                done = True
                visit.keep(http, Work(now, end))
                yield await asyncio.to_thread(show, end)
        except WorkbenchError as error:
            yield nothing(failed(error, "not converted"))
        finally:
            if not done:
                Outcome(folder, {}).close()

    async def push(
        end: Outcome | None, where: str | None, inside: str | None, as_what: str, hidden: bool, even: bool,
        token: gr.OAuthToken | None,
    ) -> Values:  # fmt: skip
        yield progress("Sending the files to the Hub", None)
        try:
            address = await asyncio.to_thread(
                hub.push, end, token, where, as_what, folder=inside, private=bool(hidden), anyway=bool(even)
            )
            yield view.pushed(address)
        except WorkbenchError as error:
            yield failed(error, "not pushed")

    def back(page: Arrival) -> dict[Any, Any]:
        """The source as it was described, with the target and the options that were chosen, and how its conversion ended."""
        if page.value is None:
            return {}
        work: Work = page.value
        kept = {option: page.form.get(_field(option)) for option in widgets}
        given = work.opened.source
        same = {files: [str(path) for path in given.files.values()] or None, name: given.name or None}
        end = show(work.outcome) if work.outcome else {}
        return describe(work.opened, page.form.get("target"), kept) | same | end

    plain = {_field(option): widget for option, widget in widgets.items() if not isinstance(widget, gr.File)}
    visit.form(target=target, seeds=numbers, anyway=anyway, **plain)
    visit.restore(back, page)

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}

    def on(triggers: list[Any], fn: Any, given: Any, outputs: Any) -> None:
        listen(stop, under_way.busy, triggers, fn, given, outputs, **quiet)

    on([files.upload, files.delete, files.clear], look_at_files, [files, name], page)
    on([name.input], look_at_name, [files, name], page)
    on([examples.click], look_at_example, [examples], page)
    target.input(lambda now, choice: settle(now, choice), [opened, target], chosen, **quiet)
    on([start.click], go, [opened, target, numbers, anyway, *widgets.values()], results)
    stop.click(under_way.stop, None, None, api_visibility="private", queue=False)
    everything.expand(lambda: view.conversion_table(converter.conversions()), None, table, **quiet)
    if sign_in:
        push_button.click(push, [outcome, repository, place, how, private, push_anyway], pushed, **quiet)
    return Opener("onnx", lambda after, paths: on([after], look_at_handed, [paths], page)), offer


def _onnx_files(end: Outcome | None) -> list[str]:
    found = end.onnx_files() if end is not None else []
    if not found:
        raise gr.Error("There is no ONNX result to open. Please convert again.", print_exception=False)
    return found


def _widget(spec: dict[str, Any]) -> Any:
    """Hidden until a route wants it."""
    if spec["kind"] == "bool":
        return gr.Checkbox(label=spec["title"], visible=False)
    if spec["kind"] == "int":
        return gr.Number(label=spec["title"], precision=0, visible=False)
    if spec["kind"] == "choice":
        return gr.Dropdown(list(spec["choices"]), label=spec["title"], visible=False)
    if spec["kind"] == "text":
        return gr.Textbox(label=spec["title"], max_lines=1, visible=False)
    return gr.File(label=spec["title"], type="filepath", height=120, visible=False)


def _field(option: str) -> str:
    return f"option_{option}"


def _update(spec: dict[str, Any] | None, known: dict[str, Any], kept: Any = None) -> Any:
    """The widget as ``spec`` wants it; None hides it. Edges may share a name: the kind of the first one counts."""
    if spec is None or spec["kind"] != known["kind"]:
        return gr.update(visible=False, value=None)
    same = {"visible": True, "value": kept if _takes(spec, kept) else spec["default"], "label": spec["title"]}
    if spec["kind"] == "int":
        return gr.update(**same, minimum=spec["low"], maximum=spec["high"], info=f"{spec['low']} to {spec['high']}")
    return gr.update(**same, choices=list(spec["choices"])) if spec["kind"] == "choice" else gr.update(**same)


def _takes(spec: dict[str, Any], value: Any) -> bool:
    """Whether the option can have this value, which the browser kept."""
    if spec["kind"] == "int":
        return isinstance(value, int) and not isinstance(value, bool) and spec["low"] <= value <= spec["high"]
    if spec["kind"] == "choice":
        return value in list(spec["choices"])
    if spec["kind"] == "text":
        return isinstance(value, str)
    return spec["kind"] == "bool" and isinstance(value, bool)
