"""Gradio API endpoints and MCP tools: convert, describe_source, conversions.

``convert`` and ``describe_source`` are generators, so that a job stops when its client disconnects. They yield dicts with
``progress`` before the answer.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ListFiles
from pydantic import model_validator

from lib.convert.service.catalogue import table
from lib.convert.service.converter import Converter
from lib.errors import InvalidFile, InvalidValue, WorkbenchError
from lib.jobs import Result
from web.errors import as_gradio
from web.folders import Folders
from web.follow_job import follow_job
from web.schemas import inline

from . import subject
from .option_values import OPTIONS_SCHEMA, from_client, specs

Answers = AsyncIterator[dict[str, Any]]


class OneOrMore(ListFiles):
    """A list of files that also accepts a single file."""

    @model_validator(mode="before")
    @classmethod
    def _as_list(cls, given: Any) -> Any:
        return [given] if isinstance(given, dict) else given


def build(converter: Converter, folders: Folders) -> None:
    """Add the endpoints. Hidden components define the names, types and defaults of their parameters."""

    async def convert(
        file: list[str] | None = None, source: str = "", target: str = "", options: dict[str, Any] | None = None
    ) -> AsyncIterator[tuple[str | None, dict[str, Any]]]:
        """Convert a model to another format and verify that it still computes the same. An unproven file is withheld.

        Samples of real inputs (.npz, .npy, zip of pictures, one picture, .wav, .txt) calibrate int8 and test int8 and
        float16: send their file among those in file, and name it: options={"samples": "photos.zip"}.

        Args:
            file: The model's file, or a list of files (the main one first); none when source names an architecture.
            source: A name such as "torchvision:mobilenet_v3_small", with its weights as file or without.
            target: The format to convert to. describe_source lists those that a model can be converted to.
            options: JSON object: samples, preprocessing, sizes, min_agreement, seeds, anyway, and options of the conversion.

        Returns:
            The converted file (a zip where there are several) or nothing, and the report: verdict, reason, errors.
        """
        folder = folders.new()
        try:
            if not target:
                raise InvalidValue("target", target, "a format from /conversions, such as onnx")
            inputs = subject.source(file, source)
            parsed = from_client(options, inputs.files, specs(await asyncio.to_thread(converter.conversions)))
            if name := subject.misplaced_file(inputs.files):
                raise InvalidFile(
                    f'{name!r} is not part of this model. To use it as samples: options={{"samples": "{name}"}}.'
                )
            async with aclosing(follow_job(converter.convert(inputs, target, parsed, Path(folder)))) as events:
                async for event in events:
                    if isinstance(event, Result):
                        yield event.value["artifact"], event.value["report"]  # gradio copies the file to its own cache
                    else:
                        yield None, {"progress": event.stage}
        except WorkbenchError as error:
            raise as_gradio(error) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def describe_source(file: list[str] | None = None, source: str = "") -> Answers:
        """Describe a model and list what it can be converted to here.

        Args:
            file: The model's file, or a list of files (the main one first); none when source names an architecture.
            source: A name such as "torchvision:mobilenet_v3_small".

        Returns:
            format, title, bytes, inputs, outputs, messages, and targets with route, tools, estimated seconds and options.
        """
        try:
            async with aclosing(follow_job(converter.describe(subject.source(file, source)))) as events:
                async for event in events:
                    yield event.value if isinstance(event, Result) else {"progress": event.stage}
        except WorkbenchError as error:
            raise as_gradio(error) from None

    async def conversions() -> list[dict[str, Any]]:
        """List all conversions that this installation knows.

        Returns:
            Rows of source, target, tool, precision, options, and runs_here with why_not.
        """
        return await asyncio.to_thread(converter.conversions)

    with gr.Row(visible=False):
        file = gr.File(label="file", file_count="multiple")
        file.data_model = OneOrMore
        inline(file)
        source = gr.Textbox("", label="source")
        # choices become the schema's enum; other values reach the converter, which rejects them with a reason
        targets = sorted({row["target"] for row in table()})
        target = gr.Dropdown(targets, value=None, label="target", allow_custom_value=True)
        options, report = gr.JSON({}, label="options"), gr.JSON(label="report")
        options.api_info = lambda: OPTIONS_SCHEMA  # gradio's default is not a valid JSON schema
        description, artifact, conversions_json = (
            gr.JSON(label="description"),
            gr.File(label="artifact"),
            gr.JSON(label="conversions"),
        )
        endpoints = (
            (convert, [file, source, target, options], [artifact, report]),
            (describe_source, [file, source], description),
            (conversions, None, conversions_json),
        )
        for function, inputs, answers in endpoints:
            gr.Button(function.__name__).click(
                function, inputs, answers, api_name=function.__name__, concurrency_limit=None, show_progress="hidden"
            )
