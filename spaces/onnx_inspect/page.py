"""The tab's page: files and widgets in, reports of child processes out. Knows nothing of ONNX itself.

Longer than 300 lines because seven inner tabs share the open model: their widgets first, then what
each button does, then one table of which button does what.
"""

from __future__ import annotations

import asyncio
import html
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import gradio as gr

from lib.errors import InvalidFile, WorkbenchError
from lib.jobs import Job, Result
from lib.onnx_inspect.catalogue import DESCRIPTIONS, LINEAR, LOOP, SCALED
from lib.onnx_inspect.report import markdown
from web import netron
from web.cards import failed, idle, progress
from web.folders import plain
from web.handover import Opener
from web.shelf import Shelf
from web.stop import listen
from web.under_way import UnderWay
from web.visit import Arrival, Visit

from . import view
from .bench import Bench
from .subject import RUNS, Subject, parse_symbols, parse_values, tolerance, uploaded, whole

TEXTS = {"Y = X·A + B": LINEAR, "a loop": LOOP, "functions": SCALED}
COLLAPSED, WHOLE = "Collapsed", "Every node (slow)"
Values = AsyncIterator[Any]


def build(bench: Bench, shelf: Shelf, visit: Visit) -> Opener:
    """The way in for ONNX files of another tab is returned."""
    subject = gr.State(None)  # what visit keeps; a handler must not be able to open another's
    under_way = UnderWay()

    with gr.Row(elem_classes="mw-columns"):
        with gr.Column(scale=4, min_width=300):
            files = gr.File(label="ONNX model (and its external data)", file_count="multiple", type="filepath", height=150)
            examples = gr.Dataset(
                components=[gr.Textbox(visible=False)],
                samples=[[name] for name in DESCRIPTIONS],
                type="index",
                label="Or an example made here",
                elem_id="onnx-examples",
            )
            with gr.Row():
                stop_button = gr.Button("Stop", variant="stop", size="sm", interactive=False, min_width=70)
                as_json = gr.DownloadButton("Report .json", size="sm", interactive=False, min_width=70)
                as_markdown = gr.DownloadButton("Report .md", size="sm", interactive=False, min_width=70)
        with gr.Column(scale=7, min_width=320):
            summary = gr.HTML(idle(view.IDLE), padding=False, elem_id="onnx-summary")

    with gr.Tabs(elem_classes="mw-inner", overflow_behavior="wrap"):
        with gr.Tab("Graph"):
            level = gr.Radio([COLLAPSED, WHOLE], value=COLLAPSED, label="This graph is big", visible=False)
            graph = gr.HTML(idle("The graph of the model that you open appears here."), padding=False)
        with gr.Tab("Nodes and cost"):
            cost = gr.HTML(padding=False)
            with gr.Row():
                symbols = gr.Textbox(
                    label="Symbols",
                    placeholder="batch=8, sequence=128",
                    info="numbers for dynamic dimensions; 1 unless given",
                )
                recount = gr.Button("Recount", scale=0, min_width=120)
            with gr.Row():
                operators = gr.BarPlot(
                    x="operator", y="MACs", title="MACs by operator", sort="-y", height=260, min_width=280
                )
                memory = gr.LinePlot(
                    x="node", y="MiB alive", title="Activations alive over the run", height=260, min_width=280
                )
            nodes = _table(view.NODE_COLUMNS, ["number", "str", "str", "str", *["number"] * 5], "Nodes, costliest first")
        with gr.Tab("Weights"):
            tensor_name = gr.Textbox(
                label="Tensor", info="select a row below, or type an initializer's name and press Enter"
            )
            tensor = gr.HTML(padding=False)
            histogram = gr.BarPlot(x="value", y="count", title="Values", height=240, visible=False)
            weights = _table(
                view.WEIGHT_COLUMNS, ["str", "str", "str", "number", "number", "number", "str"], "Largest first"
            )
        with gr.Tab("Problems"):
            problems = gr.HTML(idle("Nothing is open."), padding=False)
        with gr.Tab("Run"):
            with gr.Row():
                seed = gr.Number(0, label="Seed", precision=0, minimum=0, info="of random inputs", min_width=120)
                runs = gr.Number(
                    20, label="Timed runs", precision=0, minimum=1, maximum=1000, info="1 to 1000", min_width=120
                )
                run_symbols = gr.Textbox(label="Symbols", placeholder="batch=8", info="of random inputs", min_width=160)
            with gr.Accordion("Inputs of your own", open=False), gr.Row():
                npz = gr.File(label="An .npz with one array per input", type="filepath", file_types=[".npz"], height=120)
                typed = gr.Textbox(label="Or values as JSON", lines=3, placeholder='{"X": [[1, 2, 3, 4]]}')
            with gr.Row():
                run_button = gr.Button("Run", variant="primary", scale=2)
                outputs = gr.DownloadButton("Outputs (.npz)", interactive=False, scale=1)
            outcome = gr.HTML(padding=False, elem_id="onnx-outcome")
            times = gr.BarPlot(
                x="node",
                y="ms",
                color="operator",
                title="Where the time goes: slowest nodes",
                sort=None,
                x_label_angle=-30,
                height=300,
                visible=False,
            )
            profile = _table(view.PROFILE_COLUMNS, ["str", "str", *["number"] * 5], "Profile, slowest first")
        with gr.Tab("Build"):
            gr.Markdown(
                "Write a model as ONNX text; what you build becomes the open model: its graph, cost and Run are in the tabs."
            )
            text_examples = gr.Radio(list(TEXTS), label="Start from", value=next(iter(TEXTS)))
            text = gr.Textbox(LINEAR, label="ONNX text", lines=16, max_lines=40, elem_id="onnx-text", buttons=["copy"])
            with gr.Row():
                build_button = gr.Button("Build", variant="primary")
                show_button = gr.Button("Show the open model as text")
                built = gr.DownloadButton("Download .onnx", interactive=False)
            built_note = gr.HTML(padding=False, elem_id="onnx-built")
        with gr.Tab("Compare"):
            with gr.Row():
                old = gr.File(label="Before", file_count="multiple", type="filepath", height=130, elem_id="onnx-old")
                new = gr.File(label="After", file_count="multiple", type="filepath", height=130, elem_id="onnx-new")
            with gr.Row():
                rtol = gr.Number(0.0, label="Relative tolerance", minimum=0, min_width=120)
                atol = gr.Number(0.0, label="Absolute tolerance", minimum=0, min_width=120)
                compare_button = gr.Button("Compare", variant="primary", min_width=120)
                compare_example = gr.Button("Compare two examples", min_width=120)
            difference = gr.HTML(padding=False, elem_id="onnx-difference")
            changes = _table(view.CHANGE_COLUMNS, ["str"] * 5, "Changes")

    counted = [summary, cost, operators, memory, nodes, as_json, as_markdown]
    answers = [
        tensor_name,
        tensor,
        histogram,
        outcome,
        times,
        profile,
        outputs,
        built_note,
        built,
        symbols,
        run_symbols,
        npz,
        typed,
        files,
    ]
    everything = [*counted, subject, graph, level, weights, problems, *answers]

    def frame(now: Subject, which: str) -> str:
        file = Path(now.out) / ("collapsed.onnx" if which == COLLAPSED else "graph.onnx")
        address = netron.address(shelf.put(file if file.is_file() else Path(now.out) / "graph.onnx"), now.name)
        return (
            f'<iframe class="{netron.FRAME}" title="Graph of {html.escape(now.name)}" src="{html.escape(address)}" '
            'style="width:100%;height:640px;border:0;border-radius:12px"></iframe>'
        )

    def count(now: Subject, report: dict[str, Any]) -> dict[Any, Any]:
        """What depends on the symbols, and the report's two files."""
        folder = Path(tempfile.mkdtemp(dir=now.out))  # a name that the child process could not foresee
        stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in Path(now.name).stem)[:60] or "model"
        now.report = str(folder / f"{stem}.report.json")
        Path(now.report).write_text(json.dumps(report, indent=1))
        (folder / f"{stem}.report.md").write_text(markdown(report))
        return {
            summary: view.summary(report),
            cost: view.cost(report),
            operators: gr.BarPlot(
                plot := view.operator_plot(report), y_lim=[0, max(plot["MACs"].max(), 1)] if len(plot) else None
            ),
            memory: view.memory_plot(report),
            nodes: view.node_table(report),
            as_json: gr.DownloadButton(value=now.report, interactive=True),
            as_markdown: gr.DownloadButton(value=str(folder / f"{stem}.report.md"), interactive=True),
        }

    def show(now: Subject, report: dict[str, Any]) -> dict[Any, Any]:
        """The whole page about ``now``, without answers about the model before it."""
        big, drawn = plain(now.out, "collapsed.onnx"), sum(report["operators"].values())
        return count(now, report) | no_result() | {
            subject: now,
            graph: frame(now, COLLAPSED if big else WHOLE),
            level: gr.Radio(value=COLLAPSED, visible=bool(big), label=f"{drawn:,} nodes are slow to draw"),
            weights: view.weight_table(report),
            problems: view.problems(report),
            tensor_name: "",
            tensor: "",
            histogram: gr.BarPlot(visible=False),
            built_note: "",
            built: gr.DownloadButton(value=None, interactive=False),
            symbols: "",
            run_symbols: "",
            npz: None,
            typed: "",
        }  # fmt: skip

    def no_result(words: str = "") -> dict[Any, Any]:
        none = gr.DownloadButton(value=None, interactive=False)
        return {outcome: words, times: gr.BarPlot(visible=False), profile: None, outputs: none}

    async def follow(kind: str, ask: Callable[[], Job], http: gr.Request) -> AsyncIterator[str | dict[str, Any]]:
        """Progress as HTML, then the answer."""
        async for event in under_way.follow(kind, ask, http):
            yield event.value if isinstance(event, Result) else progress(event.stage, event.share)

    async def opening(
        now: Subject, before: Subject | None, ask: Callable[[], Job], http: gr.Request, failure: str = "not opened"
    ) -> Values:
        """Ends with the whole page about ``now``; a failure leaves open what was open."""
        done = False
        under_way.stop(http)  # answers about the model before would come under the wrong heading
        try:
            async for news in follow("open", ask, http):
                if isinstance(news, str):
                    yield {summary: news}
                else:
                    # a report of 50,000 nodes is 25 MB: not in the event loop
                    page = await asyncio.to_thread(show, now, news)
                    done = True
                    visit.keep(http, now)  # in place of the one before
                    yield page
        except WorkbenchError as error:
            yield {summary: failed(error, failure, before.name if before else "")}
        finally:
            if not done:
                now.close()

    async def open_files(paths: list[str] | None, before: Subject | None, http: gr.Request) -> Values:
        onnx = [p for p in paths or [] if p.lower().endswith(".onnx")]
        paths = [p for p in paths or [] if p not in onnx[:-1]]  # a model dropped on another takes its place
        try:
            now = uploaded(paths)
        except InvalidFile as error:
            yield {summary: failed(error, "not opened", before.name if before else "")}
            return
        now.out = bench.folders.new()
        async for values in opening(now, before, lambda: bench.inspect(now, {}), http):
            yield values | {files: paths} if len(onnx) > 1 and subject in values else values

    async def open_handed(paths: list[str], before: Subject | None, http: gr.Request) -> Values:
        """A copy: the tab that hands them over removes its own when it likes."""
        out = bench.folders.new()
        try:
            kept = [await asyncio.to_thread(shutil.copy, path, out) for path in paths]
        except OSError:
            shutil.rmtree(out, ignore_errors=True)
            raise gr.Error("That model is no longer there. Please convert it again.", print_exception=False) from None
        now = uploaded(kept)
        now.out = out
        async for values in opening(now, before, lambda: bench.inspect(now, {}), http):
            yield values

    async def open_example(index: int, before: Subject | None, http: gr.Request) -> Values:
        name, out = list(DESCRIPTIONS)[index], bench.folders.new()
        now = Subject(str(Path(out) / "model.onnx"), f"{name}.onnx", out=out)
        async for values in opening(now, before, lambda: bench.example(name, out), http):
            yield values

    async def count_again(words: str, now: Subject | None, http: gr.Request) -> Values:
        if now is None:
            raise gr.Error("Open a model first.", print_exception=False)
        try:
            async for news in follow("count", lambda: bench.inspect(now, parse_symbols(words)), http):
                yield {cost: news} if isinstance(news, str) else await asyncio.to_thread(count, now, news)
        except WorkbenchError as error:
            yield {cost: failed(error, "not counted")}

    async def look(name: str, now: Subject | None, http: gr.Request) -> Values:
        if now is None or not (name or "").strip():
            raise gr.Error("Open a model and name one of its tensors.", print_exception=False)
        try:
            async for news in follow("look", lambda: bench.weights(now, name.strip()), http):
                if isinstance(news, str):
                    yield {tensor: news, histogram: gr.BarPlot(visible=False)}
                else:
                    found = view.histogram(news)
                    yield {tensor: view.tensor(news), histogram: gr.BarPlot(found, visible=found is not None)}
        except WorkbenchError as error:
            yield {tensor: failed(error, "no result"), histogram: gr.BarPlot(visible=False)}

    def choose(event: gr.SelectData) -> str:
        return str(event.row_value[0])

    async def run_model(
        seed: float, runs: float, words: str, npz: str | None, typed: str, now: Subject | None, http: gr.Request
    ) -> Values:
        if now is None:
            raise gr.Error("Open or build a model first.", print_exception=False)
        try:
            values = parse_values(typed, npz)
            numbers = whole("seed", seed, 0), whole("runs", runs, RUNS)
            chosen = parse_symbols(words)
            async for news in follow("run", lambda: bench.run(now, npz, *numbers, chosen, values), http):
                if isinstance(news, str):
                    yield no_result(news)
                    continue
                table, file = view.profile_table(news), plain(now.out, "outputs.npz")
                yield {
                    outcome: view.result(news),
                    times: gr.BarPlot(view.profile_plot(news), visible=len(table) > 0),
                    profile: table,
                    outputs: gr.DownloadButton(value=file, interactive=file is not None),
                }
        except WorkbenchError as error:
            yield no_result(failed(error, "no result"))

    async def build_text(words: str, before: Subject | None, http: gr.Request) -> Values:
        out = bench.folders.new()
        now = Subject(str(Path(out) / "model.onnx"), "model.onnx", out=out)
        async for values in opening(now, before, lambda: bench.build(words or "", out), http, "not built"):
            if subject in values:
                yield values | {
                    built_note: view.built(values[summary]),
                    built: gr.DownloadButton(value=now.model, interactive=True),
                }
            else:  # progress, or why the text is no model: beside the text, and the summary stays
                yield {built_note: values[summary]}

    async def show_text(now: Subject | None, http: gr.Request) -> Values:
        if now is None:
            raise gr.Error("Open a model first.", print_exception=False)
        try:
            async for news in follow("text", lambda: bench.show(now), http):
                yield {built_note: news} if isinstance(news, str) else {text: news["text"], built_note: ""}
        except WorkbenchError as error:
            yield {built_note: failed(error, "no text")}

    async def comparing(ask: Callable[[], Job], http: gr.Request) -> Values:
        try:
            async for news in follow("compare", ask, http):
                if isinstance(news, str):
                    yield {difference: news, changes: None}
                else:
                    yield {difference: view.changes(news), changes: view.change_table(news)}
        except WorkbenchError as error:
            yield {difference: failed(error, "not compared"), changes: None}

    async def compare(old: list[str] | None, new: list[str] | None, rtol: float, atol: float, http: gr.Request) -> Values:
        def ask() -> Job:
            if missing := " and ".join(n for n, files in (("Before", old), ("After", new)) if not files):
                raise InvalidFile(f"Two models are compared; {missing} has no file yet.")
            return bench.compare(uploaded(old), uploaded(new), tolerance("rtol", rtol), tolerance("atol", atol))

        async for values in comparing(ask, http):
            yield values

    async def compare_two(rtol: float, atol: float, http: gr.Request) -> Values:
        pair = [Subject("", f"{name}.onnx", out=bench.folders.new()) for name in ("digits", "digits-retrained")]
        try:
            for one in pair:
                one.model = str(Path(one.out) / "model.onnx")
                async for _ in follow("compare", lambda one=one: bench.example(Path(one.name).stem, one.out), http):
                    pass
            numbers = tolerance("rtol", rtol), tolerance("atol", atol)
            async for values in comparing(lambda: bench.compare(*pair, *numbers), http):
                yield values
        except WorkbenchError as error:
            yield {difference: failed(error, "not compared"), changes: None}
        finally:
            for one in pair:
                one.close()

    async def back(page: Arrival) -> dict[Any, Any]:
        """The model that was open, as it was last reported on. What was typed comes back with the form."""
        if page.value is None:
            return {}
        now: Subject = page.value
        report = await asyncio.to_thread(lambda: json.loads(Path(now.report).read_text()))
        found = await asyncio.to_thread(show, now, report)
        return {k: v for k, v in found.items() if k not in typed_in.values()} | {files: now.given() or None}

    typed_in = {
        "symbols": symbols, "run_symbols": run_symbols, "seed": seed, "runs": runs, "values": typed,
        "example": text_examples, "text": text, "rtol": rtol, "atol": atol,
    }  # fmt: skip
    visit.form(**typed_in)
    visit.restore(back, everything)

    hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}

    def on(triggers: list[Any], fn: Callable[..., Any], given: Any, outputs: Any) -> Any:
        return listen(stop_button, under_way.busy, triggers, fn, given, outputs, **hidden)

    on([files.upload], open_files, [files, subject], everything)
    on([examples.click], open_example, [examples, subject], everything)
    on([recount.click, symbols.submit], count_again, [symbols, subject], counted)
    level.input(lambda which, now: frame(now, which) if now else gr.skip(), [level, subject], graph, **hidden)
    weights.select(choose, None, tensor_name, **hidden).then(look, [tensor_name, subject], [tensor, histogram], **hidden)
    on([tensor_name.submit], look, [tensor_name, subject], [tensor, histogram])
    on([run_button.click], run_model, [seed, runs, run_symbols, npz, typed, subject], [outcome, times, profile, outputs])
    text_examples.input(lambda name: TEXTS[name], text_examples, text, **hidden)
    on([build_button.click], build_text, [text, subject], everything)
    on([show_button.click], show_text, subject, [text, built_note])
    on([compare_button.click], compare, [old, new, rtol, atol], [difference, changes])
    on([compare_example.click], compare_two, [rtol, atol], [difference, changes])
    stop_button.click(under_way.stop, None, None, api_visibility="private", queue=False)

    return Opener("onnx", lambda after, paths: on([after], open_handed, [paths, subject], everything))


def _table(columns: list[str], datatypes: list[str], label: str) -> gr.Dataframe:
    return gr.Dataframe(
        headers=columns,
        datatype=datatypes,
        label=label,
        interactive=False,
        show_search="filter",
        max_height=460,
        elem_classes="mw-table",
    )
