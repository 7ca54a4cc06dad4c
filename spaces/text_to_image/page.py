"""The tab's page: connects the form, the stage and the gallery with the engine's events. Contains no image logic."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr

from lib.errors import Cancelled, InvalidValue, ModelUnavailable, NotFound, WorkbenchError
from lib.text_to_image import png
from lib.text_to_image.engine import Engine
from lib.text_to_image.gallery import Gallery
from lib.text_to_image.start_picture_reader import StartPictureReader
from web.html import Html
from web.visit import Arrival, Visit, fits

from . import pictures, view
from .form import HIDDEN, Form, Updates
from .picture_sessions import MAX_UNDER_WAY, PictureSessions
from .stage import Stage
from .start import submit
from .start_editor import StartEditor

# set in the browser, since reading a start picture takes a while
STARTING = "() => ({ __type__: 'update', value: 'Starting …' })"
# each zip has its own URL, so a zip that was downloaded is not downloaded again
FETCH = """(address) => {
  if (!address || address === window.mwFetched) return;
  window.mwFetched = address;
  const link = document.createElement('a');
  link.href = address;
  link.download = 'pictures.zip';
  link.click();
}"""


def build(engine: Engine, gallery: Gallery, reader: StartPictureReader, visit: Visit) -> None:
    status = Html(view.status_line(engine.status()), padding=False)
    # ``unwatched`` changes if pictures are running that this page does not watch
    clock, unwatched = gr.Timer(1.0), gr.State(0)
    form, stage, sessions = Form(engine, StartEditor(reader)), Stage(gallery), PictureSessions(gallery)

    # On a phone the two columns dissolve and the stage follows the prompt (CSS in web/theme.py).
    with gr.Row(elem_classes="mw-columns"):
        with gr.Column(scale=5, min_width=320, elem_classes="mw-side"):
            with gr.Column(elem_classes="mw-first"):
                form.build_first()
            with gr.Column(elem_classes="mw-third"):
                form.build_rest()
        with gr.Column(scale=6, min_width=320, elem_classes="mw-side"):
            with gr.Column(elem_classes="mw-second"):
                stage.build()
            with gr.Column(elem_classes="mw-fourth"):
                stage.build_gallery()

    def owner(key: str, http: gr.Request) -> str:
        """Returns the visitor's key, or a key of the page while the browser has not sent one or stores none."""
        return key if gallery.is_key(key) else hashlib.sha256(str(http.session_hash).encode()).hexdigest()[:32]

    def buttons(running: int) -> Updates:
        words = f"Generate ({running} running)" if running else "Generate"
        return {form.generate: gr.Button(words), form.stop: gr.Button(interactive=running > 0)}

    async def start(http: gr.Request, key: str, files: list[Path], strength: float, *values: Any) -> Updates:
        """Submits a request. Each click adds one to those already running."""
        key = owner(key, http)
        request, faults = form.read(values)
        if request is None:
            return form.show_errors(faults) | buttons(sessions.running(key))
        try:
            if sessions.running(key) + request.count > MAX_UNDER_WAY:
                raise WorkbenchError(f"At most {MAX_UNDER_WAY} of your pictures run at a time. Wait for one, or press Stop.")
            request = await form.start.add(request, files, strength)
            current = sessions.add(key, await submit(engine, request, owner=key, watch=True))
        except WorkbenchError as error:
            return form.show_errors([error]) | buttons(sessions.running(key))
        current.showing_other.discard(str(http.session_hash))
        return form.show_errors() | buttons(current.running) | stage.session(key, current)

    async def watch(key: str, signature: str, http: gr.Request) -> AsyncIterator[Updates]:
        """Yields updates while pictures are running."""
        key, page = owner(key, http), str(http.session_hash)
        yield buttons(sessions.running(key))  # Gradio clears the outputs of a generator that yields nothing
        async with aclosing(sessions.watch(key, page)) as updates:
            async for current in updates:
                gallery_updates = stage.gallery_of(key, signature)
                signature = gallery_updates.get(stage.signature, signature)
                shown = {} if page in current.showing_other else stage.session(key, current)
                yield shown | gallery_updates | buttons(current.running)

    async def ended(key: str, http: gr.Request) -> Updates:
        """Updates once all pictures have ended: shows why pictures are missing."""
        current = sessions.session(owner(key, http))
        updates = buttons(current.running if current else 0)
        missing = [item for item in current.pictures if item.error is not None] if current and not current.running else []
        errors = [item.error for item in missing if not isinstance(item.error, Cancelled)]
        if not missing:
            return updates
        now = engine.status()
        lost = {m.ticket.request.model for m in missing if isinstance(m.error, ModelUnavailable)} - {now["model"]}
        if lost and now["status"] == "ready":  # the form switches to the model that is loaded
            updates |= form.switch_model(lost.pop(), now["model"])
        return updates | form.show_errors(errors, note="" if errors else "Stopped.")

    async def tick(key: str, signature: str, lost: int, http: gr.Request) -> Updates:
        """Polls the engine's state, and finds pictures from other pages of the visitor or from before a reload."""
        current = engine.status()
        changes = {status: view.status_line(current), clock: gr.Timer(5.0 if current["status"] == "ready" else 1.0)}
        key, page = owner(key, http), str(http.session_hash)
        if sessions.running(key) and not sessions.watched(key, page):
            changes[unwatched] = lost + 1
        return changes | stage.gallery_of(key, signature) | buttons(sessions.running(key))

    async def stop(key: str, http: gr.Request) -> None:
        """Cancels the visitor's pictures; ``watch`` then updates the page."""
        sessions.stop(owner(key, http))

    async def pick(key: str, signature: str, http: gr.Request, event: gr.EventData) -> Updates:
        """Handles a click on one of the visitor's pictures, or on a button for one or all of them."""
        key = owner(key, http)
        verb, _, name = str(event.pick).partition(":")
        path = gallery.find(key, name)
        if verb == "zip":
            archive = await asyncio.to_thread(gallery.zip_all, key)
            return {stage.zip: pictures.zip_address(archive)}
        if verb == "clear":
            gallery.clear(key)
            return stage.show(None) | stage.gallery_of(key, signature)
        if verb == "drop":
            gallery.remove(key, name)
            stage_updates = stage.show(stage.newest(key)) if event.shown == name else {}
            return stage_updates | stage.gallery_of(key, signature)
        current = pictures.picture(path) if path else None
        if path is None or current is None:
            return form.show_errors([NotFound("That picture is no longer kept here.")]) | stage.gallery_of(key, signature)
        if verb == "all":
            return restored(path)
        if verb == "seed":
            return {form.seed: current.info["seed"]}
        sessions.show_other(key, str(http.session_hash))
        return stage.show(current)

    def take(key: str, http: gr.Request, event: gr.EventData) -> Updates:
        """Uses one of the visitor's pictures as the start picture of the next."""
        path = gallery.find(owner(key, http), str(event.pick).partition(":")[2])
        if path is None:
            raise gr.Error("That picture is no longer kept here.", print_exception=False)
        return form.start.take(path) | {form.opened: gr.Accordion(open=True)}

    def restored(path: Path, place: str = "") -> Updates:
        """Fills the form with the settings of a picture."""
        try:
            settings, info = png.read_settings(path), png.read_info(path)
            settings["model"] = engine.catalogue.choose(settings["model"]).name
        except InvalidValue as error:
            return form.show_errors([error])
        note = f"{len(settings)} settings restored."
        if "start_picture" in info:
            note += " It had a start picture, which is not in its file."
        return form.fill(settings) | form.show_errors(note=note, place=place)

    def from_file(path: str | None) -> Updates:
        return form.show_errors() if path is None else restored(Path(path), "picture")

    async def arrive(page: Arrival) -> Updates:
        """Restores the gallery, the newest picture, and the hints of the form's model."""
        gallery.sweep()
        kept = {n: v for n, v in page.form.items() if n in ("model", "width", "height") and fits(form.fields[n], v)}
        initial = {} if sessions.running(page.key) else stage.show(stage.newest(page.key))
        prompt, model = (page.form.get(name) or form.fields[name].value for name in ("prompt", "model"))
        initial[form.tokens] = await form.token_line(str(prompt), str(model))
        return initial | form.fill(kept) | stage.gallery_of(page.key, "") | {status: view.status_line(engine.status())}

    # Events only have the outputs they need: Gradio recreates each one every time.
    visitor_inputs, at_once = [visit.key, stage.signature], HIDDEN | {"queue": False}
    pressed = [form.generate, form.stop]
    many: dict[str, Any] = HIDDEN | {"concurrency_limit": None, "trigger_mode": "multiple"}
    form_inputs = [visit.key, *form.start.inputs, *form.fields.values()]
    form.generate.click(None, None, form.generate, js=STARTING, **at_once)
    begun = form.generate.click(start, form_inputs, [*stage.outputs, *form.errors.values(), *pressed], queue=False, **many)
    for before in (begun.then, unwatched.change):
        watched = before(watch, visitor_inputs, [*stage.outputs, *pressed], **many)
        watched.then(ended, visit.key, [*form.outputs, *pressed], **many)
    form.stop.click(stop, visit.key, None, **at_once)
    shown = [stage.gallery, stage.signature, *pressed, status, clock, unwatched]
    clock.tick(tick, [*visitor_inputs, unwatched], shown, concurrency_limit=None, **HIDDEN)
    outputs = [*stage.outputs, *form.outputs]
    for part in (stage.frame, stage.about, stage.gallery):
        picked = part.click(pick, visitor_inputs, [*outputs, stage.zip], **many)
        picked.then(None, stage.zip, None, js=FETCH, **at_once)
    stage.about.start(take, visit.key, [form.start.editor, form.opened], **HIDDEN)
    form.source.upload(from_file, form.source, outputs, **HIDDEN)
    form.connect()
    visit.form(**form.fields)
    visit.restore(arrive, [*stage.outputs, form.tokens, form.hint, form.model, form.width, form.height, status])
