"""The recipe form: three main fields with a time estimate, Train and Stop, and the other fields in an accordion.

``Recipe`` validates the values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from markupsafe import Markup

from lib.errors import InvalidValue, WorkbenchError
from lib.train import backbones
from lib.train.recipe import EPOCHS, Recipe
from web.html import Html, html

from .page_shared import QUIET, Shared
from .subject import LABELS, Subject, recipe, wrong
from .view import RANDOM, seconds

START = Recipe()
CHANCE = html('<div class="mw-alert">{} The backbone is not pretrained: expect a lower accuracy.</div>', RANDOM)
OFFLINE = "Without a network connection, only efficientnet_lite0 has pretrained weights."


class Form:
    """``fields`` maps the names in LABELS to their widgets, in that order."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        technique = gr.Radio(
            [("Fine-tuning", "fine_tuning"), ("Feature extraction", "feature_extraction")],
            value=START.technique,
            label="Technique",
            info="Fine-tuning trains the whole network: more accurate. Feature extraction trains the last layer: faster.",
        )
        with gr.Row():
            epochs = gr.Number(START.epochs, label="Epochs", info="training passes", min_width=110)
            size = gr.Number(START.image_size, step=32, label="Size", info="side in pixels: 32–512", min_width=110)
        self.said = Html(self.nothing(), padding=False, elem_id="train-said")
        with gr.Row():
            self.start = gr.Button("Train", variant="primary", scale=2, min_width=120, elem_id="train-start")
            self.stop = gr.Button("Stop", variant="stop", interactive=False, scale=1, min_width=80, elem_id="train-stop")
        with gr.Accordion("More settings", open=False):
            self.name = gr.Textbox(label="Name", placeholder="name of the pictures", max_length=80)
            with gr.Row():
                framework = gr.Radio([("PyTorch", "pytorch"), ("Keras", "keras")], value=START.framework, label="Framework")
                kinds = [("Pretrained", "pretrained"), ("Random", "random")]
                weights = gr.Radio(kinds, value=START.weights, label="Weights")
            backbone = gr.Dropdown(self._backbones("pytorch"), value=START.backbone, label="Backbone", info=OFFLINE)
            with gr.Row():
                batch = gr.Number(START.batch_size, label="Batch size", info="pictures per step", min_width=110)
                rate = gr.Number(START.learning_rate, label="Learning rate", info="of the backbone", min_width=110)
            with gr.Row():
                seed = gr.Number(START.seed, label="Seed", info="same seed, same run", min_width=110)
                precision = gr.Dropdown(
                    [("off", "no"), ("bfloat16", "bf16"), ("float16", "fp16")],
                    value=START.mixed_precision,
                    label="Mixed precision",
                    info="faster on a GPU",
                    min_width=110,
                )
            with gr.Row():
                stop = gr.Number(START.early_stop, label="Early stop", info="patience; 0 = never", min_width=110)
                share = gr.Number(
                    START.validation, step=0.05, label="Validation share", info="if there is no val/", min_width=110
                )
            augmentation = gr.Checkbox(START.augmentation, label="Augmentation", info="flips and shifts; fine-tuning only")
            balance = gr.Checkbox(
                START.class_weights, label="Class weights", info="small classes count as much as large ones"
            )
            freeze = gr.Checkbox(START.freeze_batch_norm, label="Freeze batch norm", info="better with small batches")
        Html(_what_becomes_of_it(shared), padding=False)
        widgets = (technique, epochs, size, framework, backbone, weights, batch, rate, seed, precision, stop, share)
        self.fields = dict(zip(LABELS, (*widgets, augmentation, balance, freeze), strict=True))
        self.given = list(self.fields.values())
        shared.visit.form(name=self.name, **self.fields)

    @staticmethod
    def nothing() -> Markup:
        return Markup('<p class="mw-quiet">Choose pictures to see a time estimate here.</p>')

    def recipe(self, given: Sequence[Any]) -> Recipe:
        """Parse the values of the fields, in their order. Raises InvalidValue."""
        parsed = recipe(dict(zip(self.fields, given, strict=True)))
        backbones.choose(parsed.backbone, self.shared.trainer.settings.train_backbones, parsed.framework)
        return parsed

    def estimate(self, owner: str, data: str, values: Mapping[str, Any]) -> Markup:
        """Return the estimated training time, or an alert if a value is invalid."""
        try:
            parsed = self.recipe([values.get(name, getattr(START, name)) for name in self.fields])
        except WorkbenchError as error:
            return self.alert(error)
        chance = CHANCE if parsed.weights == "random" else Markup()
        if (summary := self.shared.summary(owner, data)) is None:
            return chance + self.nothing()
        duration = seconds(self.shared.trainer.estimate(parsed, summary))
        details = f"{summary.pictures('train'):,} training pictures, {parsed.epochs} epochs, {parsed.image_size} px"
        return chance + html('<p data-say="About {0}" title="{1}"><b>About {0}</b> on this machine</p>', duration, details)

    @staticmethod
    def alert(error: WorkbenchError) -> Markup:
        return html('<div class="mw-alert bad" role="alert" data-say="{0}">{0}</div>', wrong(error))

    def after(self, event: Any) -> None:
        """Update the estimate after ``event``."""
        inputs = [self.shared.subject, self.shared.key, *self.given]
        event.then(self._follow, inputs, self.said, queue=False, **QUIET)

    def _follow(self, opened: Subject, key: str, http: gr.Request, *given: Any) -> Markup:
        data = self.shared.state(http, opened).subject.data
        return self.estimate(self.shared.owner(key, http), data, dict(zip(self.fields, given, strict=True)))

    def connect(self) -> None:
        """Connect the handlers: the estimate follows the fields, and some fields follow the framework and the technique."""
        shared, fields = self.shared, self.fields

        def offer(framework: str, chosen: str) -> Any:
            choices = self._backbones(framework)
            fits = any(chosen == name for _, name in choices)
            return gr.Dropdown(choices, value=chosen if fits else START.backbone)

        def suit(technique: str, epochs: Any) -> list[Any]:
            """Set the technique's default epochs unless the visitor changed them, and allow augmentation only for
            fine-tuning: feature extraction computes the features once, before any augmentation."""
            default_epochs = gr.skip() if epochs not in EPOCHS.values() else EPOCHS.get(technique, START.epochs)
            frozen = technique == "feature_extraction"
            return [default_epochs, gr.Checkbox(value=False, interactive=False) if frozen else gr.Checkbox(interactive=True)]

        changes = [widget.change for widget in self.given]
        inputs = [shared.subject, shared.key, *self.given]
        gr.on(changes, self._follow, inputs, self.said, queue=False, trigger_mode="always_last", **QUIET)
        framework, backbone = fields["framework"], fields["backbone"]
        framework.input(offer, [framework, backbone], backbone, queue=False, trigger_mode="always_last", **QUIET)
        technique, epochs, augmentation = fields["technique"], fields["epochs"], fields["augmentation"]
        technique.input(suit, [technique, epochs], [epochs, augmentation], queue=False, trigger_mode="always_last", **QUIET)

    def _backbones(self, framework: str) -> list[tuple[str, str]]:
        available = self.shared.trainer.backbones().values()
        return [(_called(b), b.name) for b in available if b.keras or framework != "keras"]


def _called(backbone: backbones.Backbone) -> str:
    places = {"package": "", "hub": ", from the Hub", "folder": ", from a folder"}
    return backbone.name + places.get(backbone.source, "")


def _what_becomes_of_it(shared: Shared) -> Markup:
    settings = shared.trainer.settings
    visibility = "Everyone who opens this page can see them" if settings.train_shared else "Only you can see them"
    days = f"{settings.train_days} days" if settings.train_days > 1 else "a day"
    return html(
        '<p class="mw-quiet">A .zip may also have the folders train/, val/ and test/, each with one folder per class. Your '
        "pictures and runs are kept on this server until {} after your last visit. {}. Delete removes them.</p>",
        days,
        visibility,
    )


def no_pictures() -> InvalidValue:
    return InvalidValue("dataset", "", "pictures")
