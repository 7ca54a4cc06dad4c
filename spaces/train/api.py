"""Gradio API endpoints and MCP tools: train, runs, run, reproduce.

``train`` and ``reproduce`` are generators, so that a job stops when its client disconnects. They yield dicts with
``progress`` before the answer. Runs belong to the client's session; pass ``visitor`` to share them between sessions.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from lib.errors import InvalidFile, InvalidValue, WorkbenchError
from lib.jobs import Result
from lib.train.recipe import Recipe
from lib.train.running_training import RunningTraining
from lib.train.trainer import Trainer
from web.errors import as_gradio
from web.follow_job import follow_job
from web.schemas import as_object, inline

KEY = 16  # minimum length of a visitor key, so that it is hard to guess
HEARTBEAT = 0.5  # seconds between progress updates
Answers = AsyncIterator[tuple[str | None, dict[str, Any]]]


def build(trainer: Trainer) -> None:
    """Add the endpoints. Hidden components define the names, types and defaults of their parameters."""
    defaults = Recipe()

    async def train(
        file: str | None = None,
        dataset: str = "",
        backbone: str = defaults.backbone,
        technique: str = defaults.technique,
        epochs: float = 0,
        batch_size: float = defaults.batch_size,
        learning_rate: float = defaults.learning_rate,
        image_size: float = defaults.image_size,
        seed: float = 0,
        mixed_precision: str = "no",
        name: str = "",
        framework: str = "pytorch",
        options: dict[str, Any] | None = None,
        visitor: str = "",
        http: gr.Request = None,  # type: ignore[assignment]  (injected by gradio)
    ) -> Answers:
        """Train an image classifier on labelled pictures by transfer learning.

        Args:
            file: A .zip with one folder of pictures per class, unless dataset is given.
            dataset: objects (12 drawn things), digits (real scans), or hub:owner/name if this server lists it.
            backbone: efficientnet_lite0 (its ImageNet weights are installed), mobilenetv3_small, efficientnet_lite4.
            technique: fine_tuning (all layers) or feature_extraction (a new head on a frozen backbone).
            epochs: 1 to 1000. 0 means 3 for fine_tuning and 30 for feature_extraction.
            batch_size: 2 to 1024.
            learning_rate: Of the backbone. The head's is ten times as high (five times with feature_extraction).
            image_size: Side in pixels that pictures are resized to, a multiple of 8 from 32 to 512.
            seed: 0 to 4294967295; the same seed on the same machine gives the same weights.
            mixed_precision: no, bf16, or fp16 (CUDA only).
            name: Name of the run.
            framework: pytorch or keras.
            options: Further fields of the recipe: augmentation, class_weights, early_stop, freeze_batch_norm, validation …
            visitor: A key of your choice (16 characters or more) to list your runs with. Empty: this session.

        Returns:
            The run's id, and a report with accuracy, interval, seconds, the recipe and the figures of every epoch.
        """
        try:
            owner = trainer.visitors.owner(_key(visitor, http))
            recipe = Recipe.parse(
                {
                    "backbone": backbone,
                    "technique": technique,
                    "epochs": epochs,
                    "batch_size": batch_size,
                    "learning_rate": learning_rate,
                    "image_size": image_size,
                    "seed": seed,
                    "mixed_precision": mixed_precision,
                    "framework": framework,
                }
                | _options(options)
            )
            if bool(file) == bool(dataset):
                raise InvalidFile("Send either a zip of pictures as file or the name of a dataset.")
            id, job = trainer.data.upload(owner, Path(file), Path(file).stem) if file else trainer.data.make(dataset)
            async for event in follow_job(job):
                if isinstance(event, Result):
                    await asyncio.to_thread(trainer.data.remember, owner, id, event.value)
                else:
                    yield None, {"progress": event.stage}
            one = await asyncio.to_thread(trainer.train, owner, id, recipe, name)
            async for run, report in _follow(one):
                yield run, report
        except WorkbenchError as error:
            raise as_gradio(error) from None

    async def reproduce(run: str, http: gr.Request) -> AsyncIterator[dict[str, Any]]:
        """Train a run again from its record and compare the weights.

        Args:
            run: The id of a finished run.

        Returns:
            verdict: identical (same sha256 of the weights) or differs, with differences: possible reasons and how far apart.
        """
        try:
            one = await asyncio.to_thread(lambda: trainer.reproduce(trainer.find(run)))
            async for _, report in _follow(one):
                yield report if "progress" in report else one.result or {}
        except WorkbenchError as error:
            raise as_gradio(error) from None

    def runs(visitor: str, http: gr.Request) -> list[dict[str, Any]]:
        """List your runs, newest first.

        Args:
            visitor: The key that you gave to train. Empty: this session.

        Returns:
            Their records: id, name, status, recipe, data, result.
        """
        try:
            return trainer.runs(trainer.visitors.owner(_key(visitor, http))).list()
        except WorkbenchError as error:
            raise as_gradio(error) from None

    def run(run: str) -> dict[str, Any]:
        """The complete record of a run: recipe, data, weights, environment, every epoch's figures, result, files.

        Args:
            run: The id of a run, from train or runs.

        Returns:
            The record.
        """
        try:
            return trainer.find(run).read()
        except WorkbenchError as error:
            raise as_gradio(error) from None

    with gr.Row(visible=False):
        file, dataset = gr.File(label="file", file_types=[".zip"]), gr.Textbox("", label="dataset")
        # choices become the schema's enum; other values reach the function, which rejects them with a reason
        backbone = _choice("backbone", list(trainer.backbones()), defaults.backbone)
        technique = _choice("technique", ["fine_tuning", "feature_extraction"], defaults.technique)
        framework = _choice("framework", ["pytorch", "keras"], "pytorch")
        epochs, batch_size = gr.Number(0, label="epochs"), gr.Number(defaults.batch_size, label="batch_size")
        learning_rate = gr.Number(defaults.learning_rate, label="learning_rate")
        image_size, seed = gr.Number(defaults.image_size, label="image_size"), gr.Number(0, label="seed")
        mixed_precision, name = _choice("mixed_precision", ["no", "bf16", "fp16"], "no"), gr.Textbox("", label="name")
        options, visitor = gr.JSON({}, label="options"), gr.Textbox("", label="visitor")
        id, report, answer = gr.Textbox(label="run"), gr.JSON(label="report"), gr.JSON(label="result")
        inline(file)
        as_object(options, "Further fields of the recipe, such as augmentation, class_weights, early_stop, validation")
        recipe = [backbone, technique, epochs, batch_size, learning_rate, image_size, seed, mixed_precision]
        table: tuple[tuple[Any, list[Any], Any], ...] = (
            (train, [file, dataset, *recipe, name, framework, options, visitor], [id, report]),
            (reproduce, [id], answer),
            (runs, [visitor], answer),
            (run, [id], answer),
        )
        for function, inputs, outputs in table:
            gr.Button(function.__name__).click(
                function, inputs, outputs, api_name=function.__name__, concurrency_limit=None, show_progress="hidden"
            )

    async def _follow(one: RunningTraining) -> Answers:
        """Yield the run's id with progress, then with its report. Closing the generator early stops the training."""
        try:
            while not await asyncio.to_thread(one.done.wait, HEARTBEAT):
                one.touch()
                yield one.run.id, {"progress": one.progress.stage, "share": one.progress.share}
            if one.error is not None:
                raise one.error
            yield one.run.id, report_of(one.run.read())
        finally:
            if not one.done.is_set():
                one.stop()


def _choice(label: str, choices: list[str], value: str) -> gr.Dropdown:
    return gr.Dropdown(choices, value=value, label=label, allow_custom_value=True)


def report_of(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record with accuracy, interval, part and count copied from ``result`` to the top level."""
    result = record.get("result") or {}
    return {k: result.get(k) for k in ("accuracy", "interval", "on", "count")} | record


def _key(visitor: str, http: gr.Request) -> str:
    """Return the key that owns the caller's runs: from ``visitor``, else from the session.

    A caller without a session gets a random key, so its runs can only be found by id.
    Raises InvalidValue if ``visitor`` is too short.
    """
    return checked_key(visitor) if visitor else f"session {http.session_hash or secrets.token_hex(16)}"


def checked_key(visitor: str) -> str:
    """Return the owner key of ``visitor``, prefixed so that it never equals a page's or a session's key.

    Raises InvalidValue for fewer than ``KEY`` characters.
    """
    if len(visitor) < KEY:
        raise InvalidValue("visitor", visitor, f"a hard-to-guess string of {KEY} characters or more")
    return f"visitor {visitor}"


def _options(options: dict[str, Any] | None) -> dict[str, Any]:
    if not isinstance(options or {}, dict):
        raise InvalidValue("options", options, 'an object such as {"augmentation": true}')
    return options or {}
