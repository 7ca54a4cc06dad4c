"""The tab's page: widgets in, the engine's events out. No logic of pictures here."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from lib.errors import Cancelled, InvalidValue, WorkbenchError
from lib.settings import EMBEDDED
from lib.text_to_image import png
from lib.text_to_image.engine import Engine
from lib.text_to_image.events import Done
from lib.text_to_image.gallery import Gallery
from lib.text_to_image.models import suggested
from lib.text_to_image.request import MAX_SEED, SCHEDULERS, Request
from lib.text_to_image.ticket import Ticket
from web.errors import as_gradio
from web.follow import follow
from web.stop import listen
from web.visit import Arrival, Visit

from . import view

EXAMPLES = (
    "a red car on a track",
    "high quality photo of a large blue rocket in space",
    "a drawing of a cute orange cat in the snow",
    "a photo of a yellow hot air balloon in the mountains",
    "a large green robot in the city at night",
)


def build(engine: Engine, gallery: Gallery, visit: Visit) -> None:
    names, defaults = engine.catalogue.names, Request(prompt="-")
    status = gr.HTML(view.status_line(engine.status()), padding=False)
    clock = gr.Timer(1.0)

    # On a phone the two columns dissolve and the stage follows the prompt (CSS in web/theme.py).
    with gr.Row(elem_classes="mw-columns"):
        with gr.Column(scale=5, min_width=320, elem_classes="mw-side"):
            with gr.Column(elem_classes="mw-first"):
                prompt = gr.Textbox(
                    label="Prompt", value=EXAMPLES[0], lines=2, max_lines=6, placeholder="a red car on a track"
                )
                with gr.Row():
                    generate_button = gr.Button("Generate", variant="primary", scale=3, min_width=120)
                    stop_button = gr.Button("Stop", variant="stop", interactive=False, scale=1, min_width=80)
            with gr.Column(elem_classes="mw-third"):
                examples = (
                    gr.Dataset(
                        components=[prompt],
                        samples=[[e] for e in EXAMPLES],
                        label="Try one of these: tiny-scenes draws 12 objects in 10 colours at 10 places, and nothing else",
                        type="index",
                    )
                    if EMBEDDED in names
                    else None
                )
                negative = gr.Textbox(
                    label="Negative prompt", placeholder="what to keep out of the picture", lines=1, max_lines=4
                )
                with gr.Row():
                    steps = gr.Slider(1, engine.settings.max_steps, defaults.steps, step=1, label="Steps")
                    guidance = gr.Slider(0, 30, defaults.guidance_scale, step=0.5, label="Guidance")
                with gr.Row():
                    scheduler = gr.Dropdown(list(SCHEDULERS), value=defaults.scheduler, label="Scheduler", min_width=140)
                    model = gr.Dropdown(names, value=engine.catalogue.default, label="Model", min_width=140)
                with gr.Row():
                    seed = gr.Number(
                        -1, label="Seed", precision=0, minimum=-1, maximum=MAX_SEED, info="-1: a new one each time"
                    )
                    dice = gr.Button("⚄ Roll", elem_classes="mw-dice", scale=0, min_width=96)
                with gr.Row():
                    size = "pixels; 0: the model's own"
                    width = gr.Number(0, label="Width", precision=0, step=8, minimum=0, info=size, min_width=140)
                    height = gr.Number(0, label="Height", precision=0, step=8, minimum=0, info=size, min_width=140)
                with gr.Accordion("Settings from a picture", open=False):
                    source = gr.File(label="Drop a PNG made here", file_types=[".png"], type="filepath", height=120)
        with gr.Column(scale=6, min_width=320, elem_classes="mw-side"):
            with gr.Column(elem_classes="mw-second"):
                with gr.Column(elem_classes="mw-frame"):  # of one size, whichever of the two is in it
                    stage = gr.HTML(view.idle(), padding=False)
                    picture = gr.Image(
                        label="Picture",
                        format="png",
                        type="filepath",
                        interactive=False,
                        visible=False,
                        buttons=["download", "fullscreen"],
                        elem_id="picture",
                    )
                    words = gr.HTML(padding=False)
                with gr.Row():
                    download = gr.DownloadButton("Download PNG", interactive=False, min_width=120)
                    reuse = gr.Button("Use its seed", interactive=False, min_width=120)
                parameters = gr.Textbox(
                    label="Parameters", lines=5, max_lines=5, interactive=False, buttons=["copy"], elem_id="parameters"
                )
            with gr.Column(elem_classes="mw-fourth"):
                pictures = gr.Gallery(
                    label="Your pictures (only you see them)",
                    columns=4,
                    height="auto",
                    object_fit="contain",
                    format="png",
                    interactive=False,
                    allow_preview=False,
                    elem_id="gallery",
                    buttons=[],
                )
                clear = gr.Button("Forget my pictures", size="sm")

    form: dict[str, Any] = {
        "prompt": prompt,
        "negative_prompt": negative,
        "steps": steps,
        "guidance_scale": guidance,
        "seed": seed,
        "width": width,
        "height": height,
        "scheduler": scheduler,
        "model": model,
    }
    settings = list(form.values())
    shown = [stage, picture, download, reuse, parameters, words]

    def show(path: Path, info: dict[str, Any], ready: bool = False) -> tuple[Any, ...]:
        return (
            gr.HTML(visible=False),
            gr.Image(str(path), visible=True),
            gr.DownloadButton(value=str(path), interactive=True),
            gr.Button(interactive=True),
            png.parameters_text(info),
            view.shown(info["prompt"], ready),
        )

    def blank(words: str = view.IDLE) -> tuple[Any, ...]:
        return (
            gr.HTML(view.idle(words), visible=True),
            gr.Image(None, visible=False),
            gr.DownloadButton(value=None, interactive=False),
            gr.Button(interactive=False),
            "",
            "",
        )

    def thumbnails(key: str) -> list[tuple[str, str]]:
        """With what they show, for those who do not see it."""
        return [(str(path), png.read_info(path)["prompt"]) for path in gallery.pictures(key)]

    under_way: dict[str, Ticket] = {}  # by page, for Stop

    async def generate(http: gr.Request, *values: Any) -> AsyncIterator[tuple[Any, ...]]:
        *given, visitor_key = values
        if not gallery.knows(visitor_key):  # before the browser has told
            visitor_key = gallery.new_visitor()
        same, quiet = gr.skip(), (gr.skip(),) * 3
        ticket: Ticket | None = None
        try:
            request = Request.parse(dict(zip(form, given, strict=True)))  # an emptied number field is None: the default
            ticket = under_way[http.session_hash] = engine.submit(request, owner=visitor_key)
            async for event in follow(ticket):
                if not isinstance(event, Done):
                    yield gr.HTML(view.stage(event), visible=True), gr.Image(visible=False), *quiet, "", same
                    continue
                data = await asyncio.to_thread(png.encode, event.image, event.info)
                name = re.sub(r"[^a-z0-9]+", "-", request.prompt.lower())[:40].strip("-") or "picture"
                path = gallery.add(visitor_key, data, f"{name}-{event.info['seed']}")
                yield *show(path, event.info, ready=True), thumbnails(visitor_key)
        except Cancelled:
            yield *blank("Stopped."), same
        except WorkbenchError as error:
            yield *blank("No picture this time; the message says why."), same
            raise as_gradio(error) from None
        finally:
            if under_way.get(http.session_hash) is ticket:  # and not a later one's
                under_way.pop(http.session_hash, None)

    def stop(http: gr.Request) -> None:
        """The page hears of it through ``generate``, after its last step and never before."""
        if http.session_hash in under_way:
            under_way[http.session_hash].cancel()

    listen(
        stop_button,
        lambda http: http.session_hash in under_way,
        [generate_button.click, prompt.submit],
        generate,
        [*settings, visit.key],
        [*shown, pictures],
        api_visibility="private",
        concurrency_limit=None,
        show_progress="hidden",
        trigger_mode="once",
    )
    stop_button.click(stop, None, None, api_visibility="private", queue=False)

    def arrive(page: Arrival) -> dict[Any, Any]:
        """The gallery, and the newest picture in its place."""
        gallery.sweep()
        found = gallery.pictures(page.key)
        newest = dict(zip(shown, show(found[0], png.read_info(found[0])), strict=True)) if found else {}
        return newest | {pictures: thumbnails(page.key), status: view.status_line(engine.status())}

    def tick() -> tuple[Any, ...]:
        found = engine.status()
        return view.status_line(found), gr.Timer(5.0 if found["status"] == "ready" else 1.0)

    def recall(key: str, event: gr.SelectData) -> tuple[Any, ...]:
        found = gallery.pictures(key)
        if event.index >= len(found):
            raise gr.Error("That picture is no longer kept here.", print_exception=False)
        return show(found[event.index], png.read_info(found[event.index]))

    def forget(key: str) -> list[Any]:
        gallery.clear(key)
        return []

    def from_picture(path: str | None) -> list[Any]:
        if path is None:
            return [gr.skip()] * len(settings)
        try:
            found = png.read_settings(Path(path))
            source = engine.catalogue.choose(found["model"])
        except InvalidValue as error:
            raise as_gradio(error) from None
        found["model"] = source.name
        return [found[name] for name in form]

    def seed_of(text: str) -> int:
        found = re.findall(r"Seed: (\d+)", text)
        return int(found[-1]) if found else -1

    def suit(name: str) -> tuple[Any, ...]:
        hint = suggested(name)
        return hint["steps"], hint["guidance_scale"], hint["scheduler"], 0, 0

    hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    visit.form(**form)
    visit.restore(arrive, [*shown, pictures, status])
    clock.tick(tick, None, [status, clock], **hidden)
    dice.click(lambda: random.randint(0, MAX_SEED), None, seed, **hidden)
    reuse.click(seed_of, parameters, seed, **hidden)
    pictures.select(recall, visit.key, shown, **hidden)
    source.upload(from_picture, source, settings, **hidden)
    model.input(suit, model, [steps, guidance, scheduler, width, height], **hidden)
    clear.click(forget, visit.key, pictures, **hidden)
    if examples is not None:
        examples.click(lambda index: EXAMPLES[index], examples, prompt, **hidden)
