"""Gradio API endpoint and MCP tool export_classifier: exports a run for phones and browsers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import gradio as gr

from lib.errors import WorkbenchError
from lib.jobs import Result
from lib.train.edge.export import Exporter
from lib.train.edge.targets import TARGETS
from lib.train.trainer import Trainer
from web.errors import as_gradio
from web.follow_job import follow_job


def build(trainer: Trainer, exporter: Exporter) -> None:
    """Add the endpoint. Hidden components define the names, types and defaults of its parameters."""

    async def export_classifier(run: str, target: str = "tflite") -> AsyncIterator[tuple[str | None, dict[str, Any]]]:
        """Export a trained classifier for phones and browsers, checked against the trained network.

        The file takes float32 [1, size, size, 3], RGB 0 to 255, with normalization and labels inside. A .tflite is
        returned only if MediaPipe predicts the same labels with it as the run does on its validation pictures.

        Args:
            run: The id of a finished run, from train or runs.
            target: onnx, tflite (float32), tflite-fp16, or tflite-int8 (calibrated on training pictures).

        Returns:
            The file, or nothing if it is withheld, and the report: verdict, why, accuracy with its interval, size, speed.
        """
        try:
            record = await asyncio.to_thread(trainer.find, run)
            async with aclosing(follow_job(exporter.export(record, target))) as events:
                async for event in events:
                    if isinstance(event, Result):
                        yield event.value["file"], event.value["report"]  # gradio copies the file to its own cache
                    else:
                        yield None, {"progress": event.stage, "share": event.share}
        except WorkbenchError as error:
            raise as_gradio(error) from None

    with gr.Row(visible=False):
        run = gr.Textbox(label="run")
        target = gr.Dropdown(list(TARGETS), value="tflite", label="target", allow_custom_value=True)
        file, report = gr.File(label="file"), gr.JSON(label="report")
        gr.Button("export_classifier").click(
            export_classifier,
            [run, target],
            [file, report],
            api_name="export_classifier",
            concurrency_limit=None,
            show_progress="hidden",
        )
