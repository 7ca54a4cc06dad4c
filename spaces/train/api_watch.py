"""Gradio API endpoints and MCP tools of a served run: classify, truth, monitor."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lib.errors import WorkbenchError
from lib.train.network_cache import PYTORCH, RUNTIMES
from lib.train.schema import to_json
from lib.train.trainer import Trainer
from web.errors import as_gradio
from web.schemas import inline


def build(trainer: Trainer) -> None:
    """Add the endpoints. Hidden components define the names, types and defaults of their parameters."""

    def classify(run: str, pictures: list[str] | str | None, runtime: str = PYTORCH) -> list[dict[str, Any]]:
        """Classify pictures with a run. It keeps statistics (see monitor), never the pictures.

        Args:
            run: The id of a run.
            pictures: Up to 32 picture files.
            runtime: pytorch (the framework that trained it), or onnxruntime, litert, mediapipe, which run an exported file.

        Returns:
            For each picture id, label, score, milliseconds and scores by class, or error; loading_ms if the network
            had to be loaded first; file, the exported file that the runtime ran.
        """
        try:
            paths = [pictures] if isinstance(pictures, str) else list(pictures or ())
            return to_json(trainer.monitoring.classify(trainer.find(run), paths, runtime))
        except WorkbenchError as error:
            raise as_gradio(error) from None

    def truth(answer: str, label: str) -> dict[str, Any]:
        """Send the true label of a classified picture. If it is sent again, the last one counts.

        Args:
            answer: The id from classify.
            label: A class of its run.

        Returns:
            id, label (what was answered), truth, and right.
        """
        try:
            return to_json(trainer.monitoring.set_label(answer, label))
        except WorkbenchError as error:
            raise as_gradio(error) from None

    def monitor(run: str) -> dict[str, Any]:
        """Statistics of a served run, and whether its pictures still look like those it was trained on.

        Args:
            run: The id of a run.

        Returns:
            requests, latency, confidence (not accuracy), accuracy (on known labels), drift (two tests), proposal.
        """
        try:
            return to_json(trainer.monitor(trainer.find(run)))
        except WorkbenchError as error:
            raise as_gradio(error) from None

    with gr.Row(visible=False):
        id, runtime = (
            gr.Textbox(label="run"),
            gr.Dropdown(list(RUNTIMES), value=PYTORCH, label="runtime", allow_custom_value=True),
        )
        pictures = gr.File(label="pictures", file_count="multiple")
        inline(pictures)
        answer, label, result = gr.Textbox(label="answer"), gr.Textbox(label="label"), gr.JSON(label="result")
        table: tuple[tuple[Any, list[Any]], ...] = (
            (classify, [id, pictures, runtime]),
            (truth, [answer, label]),
            (monitor, [id]),
        )
        for function, inputs in table:
            gr.Button(function.__name__).click(
                function, inputs, result, api_name=function.__name__, concurrency_limit=None, show_progress="hidden"
            )
