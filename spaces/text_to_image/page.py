"""The tab's page: form, stage and gallery put together, clicks in, the engine's events out. No logic of pictures here."""

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

STARTING = "() => ({ __type__: 'update', value: 'Starting …' })"  # in the browser, at once: a start picture takes its time
# each zip has an address of its own: what was fetched is not fetched again
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
    clock, unwatched = gr.Timer(1.0), gr.State(0)  # it changes when something is under way that this page does not watch
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
        """The visitor's key; one of the page alone, before the browser has told it or where it keeps none."""
        return key if gallery.is_key(key) else hashlib.sha256(str(http.session_hash).encode()).hexdigest()[:32]

    def buttons(running: int) -> Updates:
        words = f"Generate ({running} running)" if running else "Generate"
        return {form.generate: gr.Button(words), form.stop: gr.Button(interactive=running > 0)}

    async def start(http: gr.Request, key: str, files: list[Path], strength: float, *values: Any) -> Updates:
        """Every click is a request of its own: it joins those under way."""
        key = owner(key, http)
        request, faults = form.read(values)
        if request is None:
            return form.show_errors(faults) | buttons(sessions.running(key))
        try:
            if sessions.running(key) + request.count > MAX_UNDER_WAY:
                raise WorkbenchError(f"At most {MAX_UNDER_WAY} of your pictures run at a time. Wait for one, or press Stop.")
            request = await form.start.add(request, files, strength)
            found = sessions.add(key, await submit(engine, request, owner=key, watch=True))
        except WorkbenchError as error:
            return form.show_errors([error]) | buttons(sessions.running(key))
        found.showing_other.discard(str(http.session_hash))
        return form.show_errors() | buttons(found.running) | stage.session(key, found)

    async def watch(key: str, signature: str, http: gr.Request) -> AsyncIterator[Updates]:
        """What is under way, until nothing is."""
        key, page = owner(key, http), str(http.session_hash)
        yield buttons(sessions.running(key))  # of a generator that yields nothing gradio makes an empty page
        async with aclosing(sessions.watch(key, page)) as updates:
            async for found in updates:
                fresh = stage.gallery_of(key, signature)
                signature = fresh.get(stage.signature, signature)
                shown = {} if page in found.showing_other else stage.session(key, found)
                yield shown | fresh | buttons(found.running)

    async def ended(key: str, http: gr.Request) -> Updates:
        """What a round that is over leaves in the form: why a picture is missing."""
        found = sessions.session(owner(key, http))
        updates = buttons(found.running if found else 0)
        missing = [one for one in found.pictures if one.error is not None] if found and not found.running else []
        errors = [one.error for one in missing if not isinstance(one.error, Cancelled)]
        if not missing:
            return updates
        now = engine.status()
        lost = {m.ticket.request.model for m in missing if isinstance(m.error, ModelUnavailable)} - {now["model"]}
        if lost and now["status"] == "ready":  # the form goes back to what can be had
            updates |= form.switch_model(lost.pop(), now["model"])
        return updates | form.show_errors(errors, note="" if errors else "Stopped.")

    async def tick(key: str, signature: str, lost: int, http: gr.Request) -> Updates:
        """The state of the engine; pictures of the visitor's other pages, and what was under way before a reload."""
        found = engine.status()
        beat = {status: view.status_line(found), clock: gr.Timer(5.0 if found["status"] == "ready" else 1.0)}
        key, page = owner(key, http), str(http.session_hash)
        if sessions.running(key) and not sessions.watched(key, page):
            beat[unwatched] = lost + 1
        return beat | stage.gallery_of(key, signature) | buttons(sessions.running(key))

    async def stop(key: str, http: gr.Request) -> None:
        """The page hears of it through ``watch``."""
        sessions.stop(owner(key, http))

    async def pick(key: str, signature: str, http: gr.Request, event: gr.EventData) -> Updates:
        """A click on one of the visitor's pictures, or on a button that belongs to one or to all."""
        key = owner(key, http)
        verb, _, name = str(event.pick).partition(":")
        path = gallery.find(key, name)
        if verb == "zip":
            made = await asyncio.to_thread(gallery.zip_all, key)
            return {stage.zip: pictures.zip_address(made)}
        if verb == "clear":
            gallery.clear(key)
            return stage.show(None) | stage.gallery_of(key, signature)
        if verb == "drop":
            gallery.remove(key, name)
            gone = stage.show(stage.newest(key)) if event.shown == name else {}
            return gone | stage.gallery_of(key, signature)
        found = pictures.picture(path) if path else None
        if path is None or found is None:
            return form.show_errors([NotFound("That picture is no longer kept here.")]) | stage.gallery_of(key, signature)
        if verb == "all":
            return restored(path)
        if verb == "seed":
            return {form.seed: found.info["seed"]}
        sessions.show_other(key, str(http.session_hash))
        return stage.show(found)

    def take(key: str, http: gr.Request, event: gr.EventData) -> Updates:
        """One of the visitor's pictures as the start picture of the next."""
        path = gallery.find(owner(key, http), str(event.pick).partition(":")[2])
        if path is None:
            raise gr.Error("That picture is no longer kept here.", print_exception=False)
        return form.start.take(path) | {form.opened: gr.Accordion(open=True)}

    def restored(path: Path, place: str = "") -> Updates:
        """The form with the settings of a picture."""
        try:
            settings, told = png.read_settings(path), png.read_info(path)
            settings["model"] = engine.catalogue.choose(settings["model"]).name
        except InvalidValue as error:
            return form.show_errors([error])
        note = f"{len(settings)} settings restored."
        if "start_picture" in told:
            note += " It had a start picture, which is not in its file."
        return form.fill(settings) | form.show_errors(note=note, place=place)

    def from_file(path: str | None) -> Updates:
        return form.show_errors() if path is None else restored(Path(path), "picture")

    async def arrive(page: Arrival) -> Updates:
        """The gallery, the newest picture, and the hints of the model that the form was left with."""
        gallery.sweep()
        kept = {n: v for n, v in page.form.items() if n in ("model", "width", "height") and fits(form.fields[n], v)}
        newest = {} if sessions.running(page.key) else stage.show(stage.newest(page.key))
        prompt, model = (page.form.get(name) or form.fields[name].value for name in ("prompt", "model"))
        newest[form.tokens] = await form.token_line(str(prompt), str(model))
        return newest | form.fill(kept) | stage.gallery_of(page.key, "") | {status: view.status_line(engine.status())}

    # An event has no more outputs than it needs: gradio makes each one anew every time.
    whose, at_once = [visit.key, stage.signature], HIDDEN | {"queue": False}
    pressed = [form.generate, form.stop]
    many: dict[str, Any] = HIDDEN | {"concurrency_limit": None, "trigger_mode": "multiple"}
    given = [visit.key, *form.start.inputs, *form.fields.values()]
    form.generate.click(None, None, form.generate, js=STARTING, **at_once)
    begun = form.generate.click(start, given, [*stage.outputs, *form.errors.values(), *pressed], queue=False, **many)
    for before in (begun.then, unwatched.change):
        watched = before(watch, whose, [*stage.outputs, *pressed], **many)
        watched.then(ended, visit.key, [*form.outputs, *pressed], **many)
    form.stop.click(stop, visit.key, None, **at_once)
    shown = [stage.gallery, stage.signature, *pressed, status, clock, unwatched]
    clock.tick(tick, [*whose, unwatched], shown, concurrency_limit=None, **HIDDEN)
    outputs = [*stage.outputs, *form.outputs]
    for part in (stage.frame, stage.about, stage.gallery):
        picked = part.click(pick, whose, [*outputs, stage.zip], **many)
        picked.then(None, stage.zip, None, js=FETCH, **at_once)
    stage.about.start(take, visit.key, [form.start.editor, form.opened], **HIDDEN)
    form.source.upload(from_file, form.source, outputs, **HIDDEN)
    form.connect()
    visit.form(**form.fields)
    visit.restore(arrive, [*stage.outputs, form.tokens, form.hint, form.model, form.width, form.height, status])
