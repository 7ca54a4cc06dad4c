"""The form: its widgets, their values as a request, and error messages below the fields."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component
from huggingface_hub import constants
from markupsafe import Markup

from lib.errors import InvalidValue, WorkbenchError
from lib.settings import EMBEDDED
from lib.text_to_image import model_files
from lib.text_to_image.engine import Engine
from lib.text_to_image.models import Source, resolve_size, suggested
from lib.text_to_image.prompts.count import TokenCounter
from lib.text_to_image.request import MAX_COUNT, MAX_PROMPT, MAX_SEED, SCHEDULERS, Request
from web.html import Html, html, join

from . import words
from .start_editor import StartEditor

EXAMPLES = (
    "a red car on a track",
    "high quality photo of a large blue rocket in space",
    "a drawing of a cute orange cat in the snow",
    "a photo of a yellow hot air balloon in the mountains",
    "a large green robot in the city at night",
)
SCENES = "tiny-scenes draws 12 objects in 10 colours at 10 places, and nothing else."
NO_COUNT = Markup('<p class="mw-count">&nbsp;</p>')
OTHERS = "The examples suit tiny-scenes, which draws nothing else; this model draws what you describe."
# errors are shown below the first field of a row; "" is for errors that belong to no field
PLACES = {"guidance_scale": "steps", "model": "scheduler", "height": "width", "image": "start", "strength": "start"}
HIDDEN: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
Updates = dict[Component, Any]


class Form:
    """``build_first`` creates the top part, ``build_rest`` the settings. Call both inside a column."""

    def __init__(self, engine: Engine, start: StartEditor) -> None:
        self.engine, self.start = engine, start
        self.counter = TokenCounter(engine.catalogue)
        self.sizes = {name: model_files.trained_size(source) for name, source in engine.catalogue.sources.items()}
        self.errors: dict[str, gr.HTML] = {}
        self.unloadable: set[str] = set()  # models that failed to load since the app started

    def build_first(self) -> None:
        self.prompt = gr.Textbox(
            label="Prompt",
            value=EXAMPLES[0],
            lines=2,
            max_lines=6,
            placeholder="What to draw, e.g. a blue boat on a lake",
            elem_id="prompt",
            html_attributes=gr.InputHTMLAttributes(enterkeyhint="go"),
        )
        self.tokens = Html(NO_COUNT, padding=False, elem_id="tokens")
        self._error("prompt")
        with gr.Row():
            self.generate = gr.Button("Generate", variant="primary", scale=3, min_width=120, elem_id="generate")
            self.stop = gr.Button("Stop", variant="stop", interactive=False, scale=1, min_width=80)
        self._error("")

    def build_rest(self) -> None:
        catalogue, defaults = self.engine.catalogue, Request(prompt="-")
        self.examples = None
        if EMBEDDED in catalogue.names:
            self.examples = gr.Dataset(
                components=[self.prompt],
                samples=[[example] for example in EXAMPLES],
                label="Or try an example",
                type="index",
            )
        self.hint = Html(self._hint(catalogue.default), padding=False)
        self.negative = gr.Textbox(
            label="Negative prompt", placeholder="What to keep out of the picture", lines=1, max_lines=4
        )
        self._error("negative_prompt")
        with gr.Row():
            max_steps = self.engine.settings.max_steps
            self.steps = gr.Slider(1, max_steps, defaults.steps, step=1, label="Steps", info=f"1–{max_steps}")
            self.guidance = gr.Slider(0, 30, defaults.guidance_scale, step=0.5, label="Guidance", info="1 or less = off")
        self._error("steps")
        with gr.Row():
            self.scheduler = gr.Dropdown(list(SCHEDULERS), value=defaults.scheduler, label="Scheduler", min_width=140)
            self.model = gr.Dropdown(self.choices(), value=catalogue.default, label="Model", min_width=140)
        self._error("scheduler")
        with gr.Row():
            self.seed = gr.Number(-1, label="Seed", precision=0, info=f"-1 = random; up to {MAX_SEED}")
            self.dice = gr.Button("Randomize", elem_classes="mw-dice", scale=0, min_width=140)
        self._error("seed")
        self.count = gr.Slider(1, MAX_COUNT, 1, step=1, label="Pictures", info="Made together, with consecutive seeds")
        self.loras = self.lora = None
        if names := catalogue.loras.names:
            with gr.Row():
                self.loras = gr.Textbox(
                    label="LoRA", elem_id="lora", placeholder=f"{names[0]}:0.8", info="name:weight, other:weight; 0–2"
                )
                self.lora = gr.Dropdown(names, value=None, label="Add a LoRA", min_width=140, scale=0)
            self._error("loras")
        with gr.Row():
            hint = self._size_hint(catalogue.default)
            self.width = gr.Number(0, label="Width", precision=0, step=8, info=hint, min_width=140)
            self.height = gr.Number(0, label="Height", precision=0, step=8, info=hint, min_width=140)
        self._error("width")
        with gr.Accordion("Image to image and inpainting", open=False) as self.opened:
            self.start.build()
            self._error("start")
        with gr.Accordion("Settings from a picture", open=False):
            self.source = gr.File(label="Drop a PNG made here or by A1111", file_types=[".png"], type="filepath", height=120)
            self._error("picture")

    @property
    def fields(self) -> dict[str, Component]:
        """The widgets by the name of their value in a request."""
        return {
            "prompt": self.prompt,
            "negative_prompt": self.negative,
            "steps": self.steps,
            "guidance_scale": self.guidance,
            "seed": self.seed,
            "width": self.width,
            "height": self.height,
            "scheduler": self.scheduler,
            "model": self.model,
            "count": self.count,
        } | ({"loras": self.loras} if self.loras is not None else {})

    @property
    def outputs(self) -> list[Component]:
        """The components that ``show_errors``, ``fill`` and ``switch_model`` update."""
        return [*self.fields.values(), *self.errors.values(), self.hint]

    def connect(self) -> None:
        for place, error in self.errors.items():
            widgets = [widget for name, widget in self.fields.items() if PLACES.get(name, name) == place]
            corrected = [w.change if w is self.prompt else w.input for w in widgets if hasattr(w, "input")]
            if corrected:  # clears the error in the browser, since the value is being corrected
                gr.on(corrected, None, None, error, js="() => ''", queue=False, **HIDDEN)
        inputs, last = [self.prompt, self.model], {"queue": False, "trigger_mode": "always_last"}
        gr.on([self.prompt.change, self.model.input], self.token_line, inputs, self.tokens, **last, **HIDDEN)
        if self.lora is not None:
            self.lora.input(_with_lora, [self.loras, self.lora], [self.loras, self.lora], **HIDDEN)
        self.dice.click(lambda: random.randint(0, MAX_SEED), None, self.seed, **HIDDEN)
        # not the model itself: Gradio opens the list of a dropdown that is updated while it loses focus
        suited = [self.steps, self.guidance, self.scheduler, self.width, self.height, self.hint]
        self.model.input(self._apply_suggested, self.model, suited, **HIDDEN)
        if self.examples is not None:
            self.examples.click(lambda index: EXAMPLES[index], self.examples, self.prompt, **HIDDEN)

    def read(self, values: Sequence[Any]) -> tuple[Request | None, list[InvalidValue]]:
        """Returns the request for the ``values`` of ``fields``, or None and all validation errors."""
        request_values = dict(zip(self.fields, values, strict=True))
        invalid: list[InvalidValue] = []
        while True:
            try:
                request = Request.parse(request_values)  # an empty number field is None: the default
                break
            except InvalidValue as error:
                invalid.append(error)
                if error.field not in request_values or len(invalid) > len(request_values):
                    return None, invalid
                request_values[error.field] = "-" if error.field == "prompt" else None
        size = self.size(request.model)
        for side in ("width", "height") if size else ():
            try:
                sizes = {"width": 0, "height": 0} | {side: getattr(request, side)}
                resolve_size(Request(prompt="-", **sizes), request.model, size)
            except InvalidValue as error:
                invalid.append(error)
        return (None if invalid else request), invalid

    def show_errors(self, errors: Iterable[WorkbenchError] = (), note: str = "", place: str = "") -> Updates:
        """Returns updates that show each error below its field and clear the others.

        ``note`` is a message at ``place`` that is not an error.
        """
        messages: dict[str, list[Markup]] = {place: [] for place in self.errors}
        for error in errors:
            field = error.field if isinstance(error, InvalidValue) else ""
            position = PLACES.get(field, field)
            line = html("<p>{}</p>", words.sentence(error))
            if line not in (lines := messages[position if position in messages else ""]):
                lines.append(line)
        if note:
            messages[place].append(html('<p class="mw-said" data-say="{0}">{0}</p>', note))
        return {self.errors[where]: join(lines) for where, lines in messages.items()}

    def fill(self, settings: dict[str, Any]) -> Updates:
        """Returns updates for the fields named in ``settings`` and the hints of its model. Other fields stay."""
        updates: Updates = {widget: settings[name] for name, widget in self.fields.items() if name in settings}
        if self.loras is not None and "loras" in settings:
            updates[self.loras] = ", ".join(f"{name}:{weight:g}" for name, weight in settings["loras"])
        if "model" in settings:
            hint = self._size_hint(settings["model"])
            for name, widget in (("width", self.width), ("height", self.height)):
                updates[widget] = gr.update(info=hint, **({"value": settings[name]} if name in settings else {}))
            updates[self.hint] = self._hint(settings["model"])
        return updates

    def switch_model(self, failed: str, ready: str) -> Updates:
        """Returns updates that select the ``ready`` model and mark the ``failed`` one in the list."""
        self.unloadable.add(failed)
        return self._apply_suggested(ready) | {self.model: gr.Dropdown(self.choices(), value=ready)}

    async def token_line(self, prompt: str, model: str) -> Markup:
        """Returns the line below the prompt, empty if the tokens cannot be counted (yet)."""
        if not self.engine.ready:  # the tokenizer libraries are imported with the model
            return NO_COUNT
        try:
            count = await asyncio.to_thread(self.counter.count, model, prompt[:MAX_PROMPT])
        except WorkbenchError:  # an emphasis that is not closed yet, or an unsupported kind of model
            return NO_COUNT
        return html('<p class="mw-count">{}</p>', words.tokens(count))

    def size(self, model: str) -> int | None:
        """Returns the resolution in pixels that the model was trained at, None if unknown."""
        name = model or self.engine.catalogue.default
        loaded = self.engine.loaded() if hasattr(self.engine, "loaded") else []
        return next((entry.size for entry in loaded if entry.name == name), self.sizes.get(name))

    def choices(self) -> list[tuple[str, str]]:
        return [(name + self._mark(source), name) for name, source in self.engine.catalogue.sources.items()]

    def _mark(self, source: Source) -> str:
        """Returns why the model is not available at once. With replicas, the files may be on other machines."""
        if source.name in self.unloadable:
            return " (could not be loaded)"
        if self.engine.settings.replicas or model_files.local_folder(source) is not None:
            return ""
        if source.folder is not None:
            return " (its files are missing)"
        return (
            " (not downloaded, and this server is offline)" if constants.HF_HUB_OFFLINE else " (downloaded when first used)"
        )

    def _apply_suggested(self, name: str) -> Updates:
        defaults = suggested(name, model_files.pipeline_class(self.engine.catalogue.choose(name)))
        updates = self.fill(defaults | {"width": 0, "height": 0, "model": name})
        return {widget: value for widget, value in updates.items() if widget is not self.model}

    def _hint(self, name: str) -> Markup:
        hint = html('<p class="mw-hint">{}</p>', SCENES if name == EMBEDDED else OTHERS)
        return hint if self.examples is not None else Markup()

    def _size_hint(self, name: str) -> str:
        size = self.size(name)
        return words.size_hint(size, model_files.size_bounds(size) if size else None)

    def _error(self, field: str) -> None:
        self.errors[field] = Html(padding=False, elem_classes="mw-error")


def _with_lora(text: str, name: str) -> tuple[str, None]:
    """Appends the chosen LoRA to the list, with weight 1 to be edited by hand."""
    return ", ".join(filter(None, [text.strip().rstrip(","), f"{name}:1"])), None
